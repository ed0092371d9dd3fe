"""Writes the two files of a service over a bundle: a manifest, and a class that loads and answers.

What is there already is kept, because its owner may have changed it. It trains nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from slmesh.mesh.errors import FailedPrecondition
from slmesh.mesh.manifest import Manifest, load_manifest

__all__ = ["check_service", "write_service"]

_CLASSIFY = '''"""The {name} service: names the label of a text; its bundle decides."""

from __future__ import annotations

from collections.abc import Sequence

from slmesh.api.classify.v1.classify_pb2 import ClassifyRequest, ClassifyResponse
from slmesh.mesh.service import Resources
from slmesh.tiers.answering import Classifying, check_top_k


class {class_name}:
    """Answers the classify contract."""

    def load(self, resources: Resources) -> None:
        """Load the bundle, and its encoder where it is compiled."""
        self._classifying = Classifying.load(resources)

    def check(self, request: ClassifyRequest) -> None:
        """Refuse a number of labels outside [1, 100]."""
        check_top_k(request)

    def answer(self, requests: Sequence[ClassifyRequest]) -> list[ClassifyResponse]:
        """Return one response for each request, in order."""
        return self._classifying.answer(requests)
'''

_SCORE = '''"""The {name} service: places a text on a scale. All it decides is in its bundle."""

from __future__ import annotations

from collections.abc import Sequence

from slmesh.api.score.v1.score_pb2 import ScoreRequest, ScoreResponse
from slmesh.mesh.service import Resources
from slmesh.tiers.answering import Scoring


class {class_name}:
    """Answers the score contract."""

    def load(self, resources: Resources) -> None:
        """Load the bundle, and its encoder where it is compiled."""
        self._scoring = Scoring.load(resources)

    def check(self, request: ScoreRequest) -> None:
        """Refuse scales the service does not have."""
        self._scoring.check(request)

    def answer(self, requests: Sequence[ScoreRequest]) -> list[ScoreResponse]:
        """Return one response for each request, in order."""
        return self._scoring.answer(requests)
'''

_RANK = '''"""The {name} service: orders the passages beside it by how well they answer a question."""

from __future__ import annotations

from slmesh.slm.passages.service import Passages


class {class_name}(Passages):
    """Answers the rank contract; the collection is named in the manifest."""
'''

_EXTRACT = '''"""The {name} service: finds fields in a text; its bundle decides which."""

from __future__ import annotations

from collections.abc import Sequence

from slmesh.api.extract.v1.extract_pb2 import ExtractRequest, ExtractResponse
from slmesh.mesh.service import Resources
from slmesh.slm.entities.extracting import Extracting


class {class_name}:
    """Answers the extract contract."""

    def load(self, resources: Resources) -> None:
        """Load the bundle, and its encoder where it is compiled."""
        self._extracting = Extracting.load(resources)

    def check(self, request: ExtractRequest) -> None:
        """Refuse fields the model does not know."""
        self._extracting.check(request)

    def answer(self, requests: Sequence[ExtractRequest]) -> list[ExtractResponse]:
        """Return one response for each request, in order."""
        return self._extracting.answer(requests)
'''

_TEMPLATES = {"classify": _CLASSIFY, "score": _SCORE, "rank": _RANK, "extract": _EXTRACT}


def check_service(folder: Path, contract: str) -> None:
    """Refuse a name or a folder the service cannot have, before anything is trained.

    Args:
        folder: Where the two files go; its name is the service's.
        contract: ``classify``, ``score``, ``rank`` or ``extract``.

    Raises:
        FailedPrecondition: The name is no service's name, or the folder has a service of another
            contract.
    """
    Manifest(name=folder.name, contract=contract, class_name=_class_name(folder.name))
    path = folder / "service.yaml"
    if path.is_file() and (found := load_manifest(path)).contract != contract:
        raise FailedPrecondition(
            f"{path} is a service of the contract {found.contract}; choose another name or folder",
            reason="SERVICE_EXISTS",
        )


def write_service(
    folder: Path, contract: str, description: str, more: Mapping[str, Any] | None = None
) -> None:
    """Write ``service.yaml`` and ``service.py`` where they are not there already.

    Args:
        folder: Where to; its name is the service's and the model's.
        contract: ``classify``, ``score``, ``rank`` or ``extract``.
        description: One line for people.
        more: Further keys of the manifest.
    """
    name, class_name = folder.name, _class_name(folder.name)
    manifest = {
        "name": name,
        "contract": contract,
        "class": class_name,
        "model": name,
        "description": description,
        **(more or {}),
    }
    code = _TEMPLATES[contract].format(name=name, class_name=class_name)
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in (
        (folder / "service.yaml", yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True)),
        (folder / "service.py", code),
    ):
        if not path.exists():
            path.write_text(text, encoding="utf-8")


def _class_name(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("-"))
