"""Labelled texts that a classifier has answered, for commands that measure what escalation gains."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from slmesh.cli.output import progress_bar
from slmesh.mesh.errors import InvalidArgument
from slmesh.mesh.settings import Settings

if TYPE_CHECKING:
    from slmesh.budgets.simulation import Traffic

__all__ = ["answered_traffic"]


async def answered_traffic(
    service: str, data: list[Path], split: str, settings: Settings, tier: str = ""
) -> Traffic:
    """Ask a classifier for the labels of a file, in this process.

    Args:
        service: Its name.
        data: Labelled files.
        split: Of the files, see :data:`slmesh.evaluation.splits.SPLITS`.
        settings: Where services and bundles are.
        tier: The tier that answers alone; as the service is declared when empty.

    Raises:
        InvalidArgument: The service is no classifier, or a file is wrong.
    """
    import numpy as np

    from slmesh.budgets.simulation import Traffic
    from slmesh.evaluation import local_mesh, read_cases, subject_of, with_tier
    from slmesh.evaluation.asking import ask
    from slmesh.mesh.catalog import find_manifest

    manifest = find_manifest(service, settings)
    subject = subject_of(with_tier(manifest, tier) if tier else manifest, settings, local=True)
    if subject.contract != "classify":
        raise InvalidArgument(f"'{service}' is no classifier", reason="USAGE")
    cases = read_cases(data, subject, split=split)
    with (
        progress_bar(f"ask {service}", len(cases.cases)) as advance,
        local_mesh(subject, cases, settings) as mesh,
    ):
        async with mesh:
            asked = await ask(mesh, subject, cases.cases, advance)
    expected = [case.expected.label for case in cases.cases]
    first = [answers[0].labels.labels[:1] for answers in asked.answers]
    right = [
        bool(found) and found[0].name == label for found, label in zip(first, expected, strict=True)
    ]
    probability = [found[0].probability if found else 0.0 for found in first]
    return Traffic(np.array(probability), np.array(right), expected)
