"""Gets everything ready that services need on disk: fetched weights, compiled models.

What is there already is verified and kept, and said to be.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from slmesh.cli.output import stderr
from slmesh.mesh.bundle import Bundle, find_bundle, load_bundle
from slmesh.mesh.catalog import bundle_folders, discover, required_bundle
from slmesh.mesh.settings import Settings

__all__ = ["prepare"]

_Step = Callable[[Settings, Callable[[str, float], None]], str]
"""Does one thing, reports how far it is, and says what it did."""


def prepare(settings: Settings, model: str = "") -> None:
    """Fetch, verify and compile what the services of this mesh need.

    Args:
        settings: Where everything is.
        model: A model that no service uses, whose encoder is wanted too; "" for none.

    Raises:
        NotFound: There is no such model.
        MeshError: A download failed, a digest is wrong, or an extra is not installed.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    steps: list[tuple[str, _Step]] = [("encoder", _encoder)]
    bundles = _verified_bundles(settings)
    if model and model not in {bundle.name for bundle in bundles}:
        bundles.append(load_bundle(find_bundle(model, bundle_folders(settings))))
    steps += [
        (f"encoder of {b.name}", _adapted(b)) for b in bundles if "adapted" in (b.backbone or {})
    ]
    if any(manifest.contract == "reason" for manifest in discover(settings).values()):
        steps.append(("reasoner", _reasoner))
    with Progress(*columns, console=stderr, transient=True) as progress:
        for name, work in steps:
            task = progress.add_task(name, total=1.0)

            def report(step: str, fraction: float, task: object = task) -> None:
                progress.update(task, description=step, completed=fraction)  # type: ignore[arg-type]

            started = time.perf_counter()
            outcome = work(settings, report)
            progress.remove_task(task)
            seconds = time.perf_counter() - started
            stderr.print(f"  {outcome} [dim]({seconds:.1f} s)[/]", highlight=False)


def _verified_bundles(settings: Settings) -> list[Bundle]:
    bundles = [required_bundle(manifest, settings) for manifest in discover(settings).values()]
    found = {bundle.digest: bundle for bundle in bundles if bundle is not None}
    names = ", ".join(f"{bundle.name} {bundle.version}" for bundle in found.values())
    stderr.print(f"  bundles intact: {names}", highlight=False)
    return list(found.values())


def _encoder(settings: Settings, report: Callable[[str, float], None]) -> str:
    from slmesh.weights.compile import compile_encoder
    from slmesh.weights.sources import MINILM

    compiled = compile_encoder(MINILM, settings.cache_dir, report)
    return f"{MINILM}: {_state(compiled.reused, 'fetched, verified, compiled to int8 ONNX')}"


def _adapted(bundle: Bundle) -> _Step:
    def compiled(settings: Settings, report: Callable[[str, float], None]) -> str:
        from slmesh.weights.compile import compile_bundle

        made = compile_bundle(bundle, settings.cache_dir, report)
        name = f"encoder of {bundle.name} {bundle.version}"
        if made is None:
            return f"{name}: not fine-tuned, nothing to compile"
        return f"{name}: {_state(made.reused, 'adapter merged, compiled to int8 ONNX')}"

    return compiled


def _reasoner(settings: Settings, report: Callable[[str, float], None]) -> str:
    manifest = next(m for m in discover(settings).values() if m.contract == "reason")
    from slmesh.reasoner.options import ReasonerOptions

    engine = ReasonerOptions.from_mapping(manifest.options).engine
    if engine != "onnx":
        return f"reasoner: engine {engine}, nothing to compile"
    from slmesh.reasoner.engines.onnx import compile_model
    from slmesh.weights.gguf import convert
    from slmesh.weights.sources import SMOLLM2

    converted = convert(SMOLLM2, settings.cache_dir, report)
    compile_model(converted, report)
    made = "fetched, verified, converted and compiled to 8-bit ONNX"
    return f"{SMOLLM2}: {_state(converted.reused, made)}"


def _state(reused: bool, made: str) -> str:
    return "reused from the cache, verified" if reused else made
