"""Commands about models on disk: what there is, whether it is intact, and compiling it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from slmesh.cli.output import JsonOption, console, print_json, print_table
from slmesh.cli.preparation import prepare
from slmesh.mesh.bundle import BUNDLE_FILE, Bundle, find_bundle, load_bundle
from slmesh.mesh.catalog import bundle_folders, discover
from slmesh.mesh.errors import MeshError, NotFound
from slmesh.mesh.naming import suggestion
from slmesh.mesh.settings import Settings, load_settings
from slmesh.mesh.signature import check_signature, sign_bundle

__all__ = ["add_to"]

NameArgument = Annotated[str, typer.Argument(help="One model; all of them when left out.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    models = typer.Typer(no_args_is_help=True, help="Models: list, fetch, verify, compile.")
    models.command("list")(_list)
    models.command("verify")(_verify)
    models.command("sign")(_sign)
    models.command("fetch")(_fetch)
    models.command("compile")(_compile)
    app.add_typer(models, name="models")


def _list(as_json: JsonOption = False) -> None:
    """List the bundles there are, and which service uses each."""
    settings = load_settings()
    users: dict[str, list[str]] = {}
    for manifest in discover(settings).values():
        users.setdefault(manifest.model.partition("@")[0], []).append(manifest.name)
    bundles = [bundle for bundle, _ in _bundles(settings, "") if bundle is not None]
    if as_json:
        for bundle in bundles:
            print_json(_described(bundle) | {"services": users.get(bundle.name, [])})
        return
    print_table(
        "models",
        ("model", "version", "contract", "tiers", ">labels", ">MiB", "used by", "digest"),
        (
            (
                bundle.name,
                bundle.version,
                bundle.contract,
                " → ".join(bundle.tiers),
                len(bundle.labels),
                f"{_size_bytes(bundle) / 2**20:.1f}",
                ", ".join(users.get(bundle.name, [])) or "-",
                bundle.digest[7:19],
            )
            for bundle in bundles
        ),
    )


def _verify(name: NameArgument = "", as_json: JsonOption = False) -> None:
    """Check the bundles' files against their digests, and signatures where keys are trusted.

    Exits with 1 when one is wrong.
    """
    failures = 0
    settings = load_settings()
    for bundle, error in _bundles(settings, name):
        signer = ""
        if bundle is not None and settings.trusted_keys is not None:
            try:
                signer = check_signature(bundle, settings.trusted_keys)
            except MeshError as refused:
                bundle, error = None, refused
        if bundle is not None:
            outcome = {"model": bundle.name, "version": bundle.version, "intact": True}
            if signer:
                outcome["signed_by"] = signer
        else:
            assert error is not None
            failures += 1
            outcome = {"intact": False, "error": error.message, "reason": error.reason}
        if as_json:
            print_json(outcome)
        elif bundle is not None:
            signed = f", signed by {signer}" if signer else ""
            console.print(
                f"[green]intact[/] {bundle.name} {bundle.version} {bundle.digest}{signed}",
                highlight=False,
            )
        else:
            error_text = escape(str(outcome["error"]))
            console.print(f"[red]refused[/] {error_text}", highlight=False, soft_wrap=True)
    if failures:
        raise typer.Exit(1)


def _sign(
    name: Annotated[str, typer.Argument(help="The model, or model@version.")],
    key: Annotated[Path, typer.Option(help="PEM file with an Ed25519 private key.")],
) -> None:
    """Sign a bundle, so that it is trusted where the key's public half is (trusted_keys)."""
    bundle = load_bundle(find_bundle(name, bundle_folders(load_settings())))
    path = sign_bundle(bundle, key)
    console.print(f"[green]signed[/] {bundle.name} {bundle.version}: {path}", highlight=False)


def _fetch() -> None:
    """Fetch and verify the pretrained weights the models build on."""
    from slmesh.weights.fetch import fetch
    from slmesh.weights.sources import SOURCES

    settings = load_settings()
    for name in SOURCES:
        fetched = fetch(name, settings.cache_dir)
        state = "there already, verified" if fetched.reused else f"fetched from {fetched.origin}"
        console.print(f"[green]ready[/] {name}: {state}", highlight=False)


def _compile(
    name: Annotated[
        str, typer.Argument(help="A model that no service uses, to be compiled too.")
    ] = "",
) -> None:
    """Fetch, verify and compile all that the services need; what is there is kept."""
    prepare(load_settings(), name)


def _bundles(settings: Settings, name: str) -> list[tuple[Bundle | None, MeshError | None]]:
    paths = {
        path.parent
        for root in bundle_folders(settings)
        for path in sorted(root.glob(f"{name or '*'}/*/{BUNDLE_FILE}"))
    }
    if name and not paths:
        known = {
            path.parent.parent.name
            for root in bundle_folders(settings)
            for path in root.glob(f"*/*/{BUNDLE_FILE}")
        }
        raise NotFound(f"no model '{name}'{suggestion(name, known)}", reason="MODEL_NOT_FOUND")
    found: list[tuple[Bundle | None, MeshError | None]] = []
    for path in sorted(paths, key=lambda path: (path.parent.name, path.name)):
        try:
            found.append((load_bundle(path), None))
        except MeshError as error:
            found.append((None, error))
    return found


def _described(bundle: Bundle) -> dict[str, object]:
    return {
        "model": bundle.name,
        "version": bundle.version,
        "contract": bundle.contract,
        "tiers": list(bundle.tiers),
        "labels": len(bundle.labels),
        "label_set_revision": bundle.label_set_revision,
        "digest": bundle.digest,
        "size_bytes": _size_bytes(bundle),
        "metrics": dict(bundle.metrics),
    }


def _size_bytes(bundle: Bundle) -> int:
    return sum(path.stat().st_size for path in bundle.folder.iterdir() if path.is_file())
