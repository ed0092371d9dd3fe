"""The classifiers a benchmark is about, with the texts it asks them: validation rows by default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from slmesh.api.classify.v1.classify_pb2 import ClassifyRequest
from slmesh.evaluation.cases import OUT_OF_SCOPE, ExpectedLabel
from slmesh.evaluation.reading import read_cases
from slmesh.evaluation.subject import subject_of
from slmesh.mesh.bundle import Bundle
from slmesh.mesh.catalog import find_manifest, required_bundle
from slmesh.mesh.errors import InvalidArgument
from slmesh.mesh.manifest import Manifest
from slmesh.mesh.settings import Settings

__all__ = ["BenchSubject", "bench_subject"]

_OUTSIDE = {"clinc150/oos_val.jsonl": "all"}
_FILES = {
    "intent": {"banking77/train.jsonl.gz": "validation", **_OUTSIDE},
    "assistant": {"clinc150/val.jsonl": "all", **_OUTSIDE},
}
"""What the shipped classifiers are asked by default: files of the data sets, and their split."""


@dataclass(frozen=True)
class BenchSubject:
    """A classifier and labelled texts.

    Attributes:
        manifest: The service's.
        bundle: Its bundle, with both tiers.
        texts: At least one.
        expected: As many: the right label, or that the text is out of scope.
        source: The files the texts are from.
    """

    manifest: Manifest
    bundle: Bundle
    texts: tuple[str, ...]
    expected: tuple[ExpectedLabel, ...]
    source: tuple[str, ...]

    @cached_property
    def texts_in_scope(self) -> list[str]:
        """The texts that have one of the labels."""
        pairs = zip(self.texts, self.expected, strict=True)
        return [text for text, expected in pairs if expected.label != OUT_OF_SCOPE]

    @cached_property
    def labels_in_scope(self) -> list[str]:
        """Their labels."""
        return [e.label for e in self.expected if e.label != OUT_OF_SCOPE]

    def requests(self) -> list[ClassifyRequest]:
        """Return one request for each text."""
        return [ClassifyRequest(text=text) for text in self.texts]


def bench_subject(
    service: str,
    settings: Settings,
    data_dir: Path,
    files: Sequence[Path] = (),
    limit: int | None = None,
) -> BenchSubject:
    """Return a classifier with its texts.

    Args:
        service: Its name.
        settings: Where it is.
        data_dir: The folder of the data sets, when no files are named.
        files: Labelled files to ask instead, all of their rows.
        limit: The most texts, evenly spread.

    Raises:
        MeshError: It is no classifier with two tiers, or there are no texts for it.
    """
    manifest = find_manifest(service, settings)
    bundle = required_bundle(manifest, settings)
    if manifest.contract != "classify" or bundle is None or len(bundle.tiers) < 2:
        raise InvalidArgument(
            f"service '{service}' is no classifier with two tiers", reason="NOT_BENCHED"
        )
    if not files and service not in _FILES:
        raise InvalidArgument(f"name texts for '{service}' with --data", reason="USAGE")
    splits = dict.fromkeys(files, "all") or {
        data_dir / name: split for name, split in _FILES[service].items()
    }
    subject = subject_of(manifest, settings, local=True)
    cases = [
        case
        for path, split in splits.items()
        for case in read_cases([path], subject, split=split).cases
    ]
    cases = cases[:: -(-len(cases) // limit)] if limit else cases
    texts = tuple(case.requests()[0].text for case in cases)  # type: ignore[attr-defined]
    expected = tuple(case.expected for case in cases)
    names = tuple(f"{path.parent.name}/{path.name}, {split}" for path, split in splits.items())
    return BenchSubject(manifest, bundle, texts, expected, names)
