"""Finds names and addresses in running text: a small convolutional network over words, and a chain.

It complements the rules and cues: it learns from how sentences with names are built. It knows nothing
of formats or of requests.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from slmesh.mesh.bundle import Bundle
from slmesh.recognise import Match
from slmesh.slm.guard.words import FLAGS, Lexicon, Token, tokens

__all__ = ["DILATIONS", "KINDS", "TAGS", "Network", "Tagger", "decode", "load_tagger", "spans"]

KINDS = ("person", "address")
"""Kinds that are personal data. The others are told apart from them and not reported."""

TAGS = (
    *("O", "B-person", "I-person", "B-address", "I-address"),
    *("B-place", "I-place", "B-organisation", "I-organisation"),
)
DILATIONS = (1, 2, 4, 1)
"""Words between the three a layer looks at: a word is judged by eight to each side."""

_SENTENCE_ENDS = frozenset(".!?\n")
_CHUNK_WORDS = 128
"""Words decoded together; a longer text is cut, at the end of a sentence where there is one."""


@dataclass(frozen=True)
class Network:
    """The weights of the network.

    Attributes:
        parts: float32 (R, H): a row for each learnt feature.
        vectors: float32 (D, H): how the vector of a word counts.
        flags: float32 (len(FLAGS), H).
        layers: for each dilation weights float32 (3 H, H) and bias (H,).
        out: float32 (H, K).
        out_bias: float32 (K,).
        transitions: float32 (K + 1, K): from each tag, and in the last row from the start.
    """

    parts: np.ndarray
    vectors: np.ndarray
    flags: np.ndarray
    layers: Sequence[tuple[np.ndarray, np.ndarray]]
    out: np.ndarray
    out_bias: np.ndarray
    transitions: np.ndarray

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray]) -> Network:
        """Return the network of a bundle.

        Raises:
            KeyError: A tensor is missing.
            ValueError: One has the wrong shape, or holds a value that is no number.
        """
        given = {key: value.astype(np.float32) for key, value in tensors.items()}
        if not all(np.isfinite(value).all() for value in given.values()):
            raise ValueError("the tagger's arrays hold a value that is no number")
        scale = given["parts.scale"]
        network = cls(
            given["parts"] * scale,
            given["vectors"],
            given["flags"],
            [
                (given[f"layers.{at}.weights"], given[f"layers.{at}.bias"])
                for at in range(len(DILATIONS))
            ],
            given["out"],
            given["out_bias"],
            given["transitions"],
        )
        network._check()
        return network

    def _check(self) -> None:
        size, count = self.parts.shape[1], len(TAGS)
        shapes = [
            self.vectors.shape[1:] == (size,),
            self.flags.shape == (len(FLAGS), size),
            all(w.shape == (3 * size, size) and b.shape == (size,) for w, b in self.layers),
            self.out.shape == (size, count),
            self.out_bias.shape == (count,),
            self.transitions.shape == (count + 1, count),
        ]
        if not all(shapes):
            raise ValueError("the tagger's arrays do not fit its tags")

    def emissions(self, words: Sequence[str], lexicon: Lexicon) -> np.ndarray:
        """Return a score for each word and tag, float32 (T, K)."""
        features = lexicon.features(words)
        hidden = features.vectors @ self.vectors + features.flags @ self.flags
        for part in range(features.parts.shape[1]):
            hidden += self.parts[features.parts[:, part]]
        for (weights, bias), reach in zip(self.layers, DILATIONS, strict=True):
            padded = np.zeros((len(hidden) + 2 * reach, hidden.shape[1]), np.float32)
            padded[reach:-reach] = hidden
            near = np.concatenate([padded[: -2 * reach], hidden, padded[2 * reach :]], axis=1)
            hidden = hidden + np.maximum(near @ weights + bias, 0)
        scores: np.ndarray = hidden @ self.out + self.out_bias
        return scores


def decode(emissions: np.ndarray, transitions: np.ndarray) -> list[int]:
    """Return the best tag of each word.

    Args:
        emissions: (T, K).
        transitions: (K + 1, K): from each tag, and in the last row from the start.
    """
    return _decode_parts(emissions, [0, len(emissions)], transitions) if len(emissions) else []


def _cuts(words: Sequence[str]) -> list[int]:
    """Return where to cut a long text, as indices of words."""
    cuts: list[int] = []
    start = 0
    while len(words) - start > _CHUNK_WORDS:
        ends = range(start + _CHUNK_WORDS, start + _CHUNK_WORDS // 2, -1)
        start = next((end for end in ends if words[end - 1] in _SENTENCE_ENDS), ends[0])
        cuts.append(start)
    return cuts


def _decode_parts(emissions: np.ndarray, cuts: Sequence[int], transitions: np.ndarray) -> list[int]:
    """Decode the parts of a text between cuts, all at once."""
    sizes = np.diff(cuts)
    count, longest, kinds = len(sizes), int(sizes.max()), emissions.shape[1]
    padded = np.zeros((longest, count, kinds), np.float32)  # (T, B, K)
    inside = np.arange(longest)[:, None] < sizes  # (T, B)
    padded.transpose(1, 0, 2)[inside.T] = emissions
    scores = transitions[-1] + padded[0]  # (B, K)
    back = np.tile(np.arange(kinds), (longest, count, 1))
    for index in range(1, longest):
        paths = scores[:, :, None] + transitions[:-1]  # (B, K, K)
        going = inside[index][:, None]
        back[index] = np.where(going, paths.argmax(axis=1), back[index])
        scores = np.where(going, paths.max(axis=1) + padded[index], scores)
    best = np.empty((longest, count), np.int64)
    best[-1] = scores.argmax(axis=1)
    for index in range(longest - 1, 0, -1):
        best[index - 1] = back[index, np.arange(count), best[index]]
    tags: list[int] = best.T[inside.T].tolist()
    return tags


def spans(words: Sequence[Token], tags: Sequence[int]) -> list[tuple[str, int, int]]:
    """Return kind and half-open range of each run of tags, line breaks at its end left out."""
    found: list[tuple[str, int, int]] = []
    for token, tag in zip(words, tags, strict=True):
        begin, _, kind = TAGS[tag].partition("-")
        if not kind or token.text == "\n":
            continue
        if begin == "I" and found and found[-1][0] == kind:
            found[-1] = (kind, found[-1][1], token.end)
        else:
            found.append((kind, token.start, token.end))
    return found


class Tagger:
    """Finds persons and addresses.

    Args:
        network: The network.
        lexicon: What is known of single words.
    """

    def __init__(self, network: Network, lexicon: Lexicon) -> None:
        self._network = network
        self._lexicon = lexicon

    def __call__(self, text: str, leniency: float = 0.0) -> list[Match]:
        """Return what the model takes for a person or an address, in order of start.

        Args:
            text: Any length.
            leniency: What is taken off the score of being no name, in units of log-odds: with 2 a
                word counts as one where the chance is about 1 in 8. For redaction.
        """
        words = tokens(text)
        if not words:
            return []
        strings = [word.text for word in words]
        emissions = self._network.emissions(strings, self._lexicon)
        emissions[:, [0, *_NOT_PERSONAL]] -= leniency
        cuts = [0, *_cuts(strings), len(words)]
        tags = _decode_parts(emissions, cuts, self._network.transitions)
        return [
            Match(kind, first, last, text[first:last], None)
            for kind, start, end in spans(words, tags)
            for first, last in _parts(text, kind, start, end)
            if kind in KINDS and any(character.isalnum() for character in text[first:last])
        ]


def _parts(text: str, kind: str, start: int, end: int) -> list[tuple[int, int]]:
    """Return a finding in its parts, without its title.

    The number of a flat before a street that has its own ("86036 Rua do Arenque 1634") is a part.
    """
    if kind == "person":  # a form of address is no part of a name
        title = _TITLE.match(text, start, end)
        return [(title.end() if title else start, end)]
    found = _FLAT_AND_STREET.fullmatch(text, start, end) if kind == "address" else None
    return [found.span(1), found.span(2)] if found else [(start, end)]


_TITLE = re.compile(r"(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof)\b\.?[ ](?=\w)", re.IGNORECASE)
_FLAT_AND_STREET = re.compile(
    r"([0-9]{2,6})[ ]"
    r"((?:[0-9]{1,4}[ ][^\W\d][^\n,0-9]*|[^\W\d][^\n,]*?[ ][0-9]{1,5}[a-z]?\.?))"
)
_NOT_PERSONAL = tuple(
    index for index, tag in enumerate(TAGS) if tag != "O" and tag.partition("-")[2] not in KINDS
)


def load_tagger(bundle: Bundle) -> Tagger:
    """Return the tagger of a bundle.

    Raises:
        KeyError: The bundle has none.
        ValueError: An array has the wrong shape, or holds a value that is no number.
    """
    prefix = "personal."
    tensors = {
        key.removeprefix(prefix): value
        for key, value in bundle.tensors().items()
        if key.startswith(prefix)
    }
    lexicon = Lexicon(
        tensors.pop("words.common"),
        tensors.pop("words.vectors"),
        float(tensors.pop("words.scale")[0]),
        tensors.pop("words.names"),
        tensors.pop("words.flags"),
        bits=int(tensors["parts"].shape[0]).bit_length() - 1,
    )
    return Tagger(Network.from_tensors(tensors), lexicon)
