"""Exports a service's model: a folder with one ONNX graph, its tokenizer and examples that use them.

Before the folder is there, the graph is asked texts beside the tiers that serve, and must agree.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from slmesh.export.graph import build
from slmesh.export.portable import portable_int8
from slmesh.export.scales import described, has_encoder, scales_of
from slmesh.mesh.bundle import Bundle, digest_of
from slmesh.mesh.catalog import required_bundle
from slmesh.mesh.errors import FailedPrecondition, InvalidArgument
from slmesh.mesh.manifest import Manifest
from slmesh.mesh.settings import Settings
from slmesh.tiers.classifier import TwoTierClassifier
from slmesh.tiers.encoder import (
    INT8_FILE,
    MAX_TOKENS,
    TOKENIZER_FILE,
    SentenceEncoder,
    encoder_digest,
    encoder_folder,
)
from slmesh.tiers.ngrams import READ_CODE_POINTS
from slmesh.tiers.scales import ScaleScorer
from slmesh.weights.fetch import new_folder
from slmesh.weights.sentences import CHECK

__all__ = ["ABOUT_FILE", "GRAPH_FILE", "TOLERANCE", "Exported", "export_service"]

FORMAT = 1
GRAPH_FILE = "model.onnx"
ABOUT_FILE = "model.json"
TOLERANCE = 0.02
"""Largest difference of a probability between the folder and the service, on one machine.

Measured: 3e-7 with the same onnxruntime; see the tests for other runtimes."""

_EXPORTABLE = ("classify", "score")
_ODD = (
    "?",
    "card " * 600,
    "ÄÖÜ straße İstanbul ΣΊΣΥΦΟΣ",
    "مرحبا بالعالم",
    "😀👩‍👩‍👧 ok",
    "a\x1cb\x85c",
)


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        folder: Where to.
        model: Name and version of the bundle.
        tiers: The tiers in the graph.
        size_bytes: Of all files.
        largest_difference: Of a probability from the tiers that serve, over the texts compared.
    """

    folder: Path
    model: str
    tiers: tuple[str, ...]
    size_bytes: int
    largest_difference: float


def export_service(
    manifest: Manifest,
    settings: Settings,
    target: Path,
    progress: Callable[[str, float], None] = lambda step, fraction: None,
) -> Exported:
    """Export the model of a classifier or scorer.

    Args:
        manifest: The service's manifest.
        settings: Where bundles and compiled encoders are.
        target: The folder to make; it may be there if it is empty.
        progress: Told of each step and how far it is.

    Raises:
        InvalidArgument: The service's contract cannot be exported, or the folder has files in it.
        FailedPrecondition: The model has other tiers than ``slmesh.tiers``, an extra is missing, or
            the graph does not agree with the service.
    """
    bundle = _exportable(manifest, settings)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InvalidArgument(f"{target} is there already: name a new folder", field="to")
    choice = str(manifest.options.get("tier", "cascade"))
    compiled = _compiled(bundle, settings, progress) if has_encoder(bundle, choice) else None
    progress("building the graph", 0.6)
    if target.is_dir():
        target.rmdir()  # empty: the new one takes its place
    with new_folder(target.absolute()) as folder:
        _write_model(bundle, choice, compiled, folder)
        _write_examples(bundle, folder)
        about = _about(manifest.name, bundle, choice, folder, with_encoder=compiled is not None)
        _write_json(about, folder)
        progress("comparing with the service", 0.8)
        difference = _largest_difference(bundle, choice, compiled, folder)
        about["agreement"] = {
            "texts": len(CHECK) + len(_ODD),
            "largest_difference": difference,
            "onnxruntime": version("onnxruntime"),
        }
        _write_json(about, folder)
    size = sum(path.stat().st_size for path in target.iterdir())
    tiers = bundle.tiers if compiled is not None else bundle.tiers[:1]
    return Exported(target, f"{bundle.name} {bundle.version}", tiers, size, difference)


def _exportable(manifest: Manifest, settings: Settings) -> Bundle:
    if manifest.contract not in _EXPORTABLE:
        raise InvalidArgument(
            f"service '{manifest.name}' speaks {manifest.contract}: only models of the contracts"
            f" {' and '.join(_EXPORTABLE)} can be exported",
            reason="NOT_EXPORTABLE",
        )
    bundle = required_bundle(manifest, settings)
    if bundle is None:
        raise InvalidArgument(
            f"service '{manifest.name}' names no model: there is nothing to export",
            reason="NOT_EXPORTABLE",
        )
    try:
        import onnx  # noqa: F401 -- only this command needs it, so it may be missing
    except ImportError:
        raise FailedPrecondition(
            "an export needs onnx: pip install 'slmesh[mesh]'", reason="EXTRA_NOT_INSTALLED"
        ) from None
    return bundle


def _compiled(bundle: Bundle, settings: Settings, progress: Callable[[str, float], None]) -> Path:
    """Return the folder of the bundle's compiled encoder, compiled now where it is not there."""
    from slmesh.weights.compile import compile_backbone, compile_bundle

    assert bundle.backbone is not None
    digest = encoder_digest(bundle.backbone)
    made = compile_bundle(bundle, settings.cache_dir, progress)
    if made is None:
        made = compile_backbone(bundle.backbone["name"], settings.cache_dir, progress)
    if made.folder != encoder_folder(settings.cache_dir, digest):
        raise FailedPrecondition(
            f"bundle '{bundle.name}' was made for the encoder {digest}, {made.folder.name} is here",
            reason="DIGEST_MISMATCH",
        )
    return made.folder


def _write_model(bundle: Bundle, choice: str, compiled: Path | None, folder: Path) -> None:
    import onnx
    import tokenizers

    encoder = None
    if compiled is not None:
        encoder = portable_int8(onnx.load(compiled / INT8_FILE))
        tokenizer = tokenizers.Tokenizer.from_file(str(compiled / TOKENIZER_FILE))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.save(str(folder / TOKENIZER_FILE), pretty=False)
    graph = build(scales_of(bundle, choice), bundle.parameters["ngrams"]["bits"], encoder)
    onnx.save(graph, folder / GRAPH_FILE)


def _largest_difference(bundle: Bundle, choice: str, compiled: Path | None, folder: Path) -> float:
    """Return how far the probabilities of the folder's example are from those of the tiers.

    Raises:
        FailedPrecondition: Too far, or another tier answered or abstained.
    """
    from slmesh.export.templates.example import Model

    encoder = SentenceEncoder(compiled) if compiled is not None else None
    model, texts, largest = Model(folder), [*CHECK, *_ODD], 0.0
    for text, predictions in zip(texts, _served(bundle, encoder, texts, choice), strict=True):
        answers = model.answer(text).values()
        for answer, prediction in zip(answers, predictions, strict=True):
            found = np.array(list(answer["probabilities"].values()))
            largest = max(largest, float(np.abs(found - prediction.probabilities).max()))
            decided = (answer["tier"], answer["abstains"])
            if largest > TOLERANCE or decided != (prediction.tier, prediction.abstains):
                raise FailedPrecondition(
                    f"the exported graph of '{bundle.name}' answers '{text[:40]}' otherwise than the"
                    f" service does (by {largest:.4f})",
                    reason="EXPORT_DISAGREES",
                )
    return largest


def _served(bundle: Bundle, encoder: SentenceEncoder | None, texts: list[str], choice: str) -> Any:
    """Return what the tiers that serve make of each text: a prediction for each scale."""
    if "scales" not in bundle.parameters:
        classifier = TwoTierClassifier.from_bundle(bundle, encoder)
        return ([prediction] for prediction in classifier.predict(texts, choice))
    scorer = ScaleScorer(bundle, encoder)
    by_scale = scorer.predict(texts, tuple(scorer.levels), choice)
    return zip(*by_scale.values(), strict=True)


def _write_examples(bundle: Bundle, folder: Path) -> None:
    values = {"name": bundle.name, "version": bundle.version}
    for source in files("slmesh.export").joinpath("templates").iterdir():
        if source.name.startswith("__"):
            continue
        text = source.read_text(encoding="utf-8")
        if not source.name.startswith("example"):
            text = Template(text).substitute(values)
        (folder / source.name).write_text(text, encoding="utf-8")


def _about(
    service: str, bundle: Bundle, choice: str, folder: Path, *, with_encoder: bool
) -> dict[str, Any]:
    """Return what ``model.json`` says of the other files."""
    return {
        "format": FORMAT,
        "service": service,
        "model": bundle.name,
        "version": bundle.version,
        "contract": bundle.contract,
        "bundle": bundle.digest,
        "label_set_revision": bundle.label_set_revision,
        "backbone": dict(bundle.backbone) if with_encoder and bundle.backbone else None,
        "ngrams": {**bundle.parameters["ngrams"], "read_code_points": READ_CODE_POINTS},
        "tokens": _token_limits() if with_encoder else None,
        "scales": described(bundle, scales_of(bundle, choice), with_encoder=with_encoder),
        "data": bundle.content.get("data", []),
        "files": {path.name: digest_of(path) for path in sorted(folder.iterdir())},
    }


def _write_json(about: Mapping[str, Any], folder: Path) -> None:
    text = json.dumps(about, indent=1, ensure_ascii=False)
    (folder / ABOUT_FILE).write_text(text + "\n", encoding="utf-8")


def _token_limits() -> dict[str, int]:
    # 32 code points a token: as tiers.encoder, which reads no more of a text
    return {"most": MAX_TOKENS, "read_code_points": 32 * MAX_TOKENS}
