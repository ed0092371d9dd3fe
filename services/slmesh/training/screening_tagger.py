"""Trains the guard's tagger of names and addresses: convolutions over words under a chain of tags.

Needs torch; what it returns runs on numpy alone. It knows nothing of rules or of where sentences come
from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from zlib import crc32

import numpy as np
import torch

from slmesh.slm.entities.tagger import transition_mask
from slmesh.slm.guard.tagger import DILATIONS, TAGS
from slmesh.slm.guard.words import FLAGS, PARTS, Lexicon, tokens
from slmesh.training.screening_sentences import Sentence

__all__ = ["fold_of", "tagger_tensors", "train_tagger"]

_IMPOSSIBLE = -1e4
_LONGEST = 160
"""Words of a sentence that training reads."""

Encoded = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Parts int64 (T, PARTS), flags (T, F), vectors float16 (T, D), tags int64 (T,) of a sentence."""


def fold_of(template: str, folds: int) -> int:
    """Return the fold of a template, in [0, folds)."""
    return crc32(template.encode()) % folds


class _Net(torch.nn.Module):
    """The network of ``slm.guard.tagger.Network``, with what is dropped while it learns."""

    def __init__(self, dimensions: int, numbers: Mapping[str, float]) -> None:
        super().__init__()
        size = int(numbers["hidden"])
        self.dropped = float(numbers["dropped"])
        self.unnamed = float(numbers["unnamed"])
        self.parts = torch.nn.Embedding(1 << int(numbers["bits"]), size)
        torch.nn.init.normal_(self.parts.weight, std=0.1)
        self.vectors = torch.nn.Linear(dimensions, size, bias=False)
        self.flags = torch.nn.Linear(len(FLAGS), size, bias=False)
        self.layers = torch.nn.ModuleList(torch.nn.Linear(3 * size, size) for _ in DILATIONS)
        self.out = torch.nn.Linear(size, len(TAGS))
        self.chain = torch.nn.Parameter(torch.zeros(len(TAGS) + 1, len(TAGS)))
        self.register_buffer("forbidden", torch.from_numpy(_forbidden()))
        self.drop = torch.nn.Dropout(float(numbers["dropout"]))

    def transitions(self) -> torch.Tensor:
        """Return (K + 1, K)."""
        return self.chain + self.forbidden  # type: ignore[operator]

    def forward(
        self, parts: torch.Tensor, flags: torch.Tensor, vectors: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Return emissions (B, T, K) of parts (B, T, P), flags, vectors and mask (B, T)."""
        seen = self.parts(parts)
        if self.training:
            kept = (torch.rand(parts.shape) >= self.dropped).unsqueeze(-1)
            seen = seen * kept
            # As if the word were in no list of names: most names are in none.
            nameless = (torch.rand(mask.shape) < self.unnamed).unsqueeze(-1)
            bare = flags.clone()
            bare[..., : FLAGS.index("common")] = 0
            bare[..., -1] = 1 - bare[..., FLAGS.index("common")]
            flags = torch.where(nameless, bare, flags)
        hidden = (seen.sum(dim=2) + self.vectors(vectors) + self.flags(flags)) * mask.unsqueeze(-1)
        for layer, reach in zip(self.layers, DILATIONS, strict=True):
            padded = torch.nn.functional.pad(hidden, (0, 0, reach, reach))
            near = torch.cat([padded[:, : -2 * reach], hidden, padded[:, 2 * reach :]], dim=2)
            hidden = (hidden + self.drop(torch.relu(layer(near)))) * mask.unsqueeze(-1)
        scores: torch.Tensor = self.out(self.drop(hidden))
        return scores


def train_tagger(
    sentences: Sequence[Sentence],
    lexicon: Lexicon,
    numbers: Mapping[str, float],
    seed: int,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, np.ndarray]:
    """Return the tensors of a trained network, see ``slm.guard.tagger.Network.from_tensors``.

    Args:
        sentences: What to learn from.
        lexicon: The table of words.
        numbers: ``bits``, ``hidden``, ``epochs``, ``rate``; ``dropout``; ``dropped``: the share of
            learnt features a step does not see; ``unnamed``: the share of words whose names flags it
            does not see, so that no name is learnt by heart.
        seed: Of the order, of what is dropped and of the first weights.
        say: Told of each epoch.
    """
    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    rows = [row for row in (_encoded(sentence, lexicon) for sentence in sentences) if len(row[3])]
    net = _Net(lexicon.vectors.shape[1], numbers)
    optimiser = torch.optim.AdamW(net.parameters(), lr=numbers["rate"], weight_decay=0.01)
    batches = _batches(rows, int(numbers["batch_words"]))
    steps = int(numbers["epochs"]) * len(batches)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=numbers["rate"], total_steps=steps, pct_start=0.1
    )
    net.train()
    for epoch in range(int(numbers["epochs"])):
        total = 0.0
        for at in draw.permutation(len(batches)).tolist():
            parts, flags, vectors, tags, mask = _padded([rows[i] for i in batches[at]])
            loss = _loss(net(parts, flags, vectors, mask), tags, mask, net.transitions())
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(net.parameters(), 2.0)
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
        say(f"tagger, epoch {epoch + 1}: loss {total / len(batches):.3f}")
    return _tensors(net)


def tagger_tensors(network: Mapping[str, np.ndarray], lexicon: Lexicon) -> dict[str, np.ndarray]:
    """Return the network and the table of words as the bundle holds them."""
    words = {
        "words.common": lexicon.common,
        "words.vectors": lexicon.vectors,
        "words.scale": np.array([lexicon.scale], np.float32),
        "words.names": lexicon.names,
        "words.flags": lexicon.flags,
    }
    return {f"personal.{key}": value for key, value in {**network, **words}.items()}


def _encoded(sentence: Sentence, lexicon: Lexicon) -> Encoded:
    text, places = sentence
    words = tokens(text)[:_LONGEST]
    features = lexicon.features([word.text for word in words])
    tags = np.zeros(len(words), np.int64)
    for kind, start, end in places:
        begin = "B"
        for index, word in enumerate(words):
            if word.start >= start and word.end <= end:
                tags[index] = TAGS.index(f"{begin}-{kind}")
                begin = "I"
    return features.parts, features.flags, features.vectors.astype(np.float16), tags


def _batches(rows: Sequence[Encoded], most_words: int) -> list[list[int]]:
    """Return groups of rows of like length, each of about so many words."""
    order = sorted(range(len(rows)), key=lambda index: len(rows[index][3]))
    found: list[list[int]] = [[]]
    for index in order:
        if (len(found[-1]) + 1) * len(rows[index][3]) > most_words and found[-1]:
            found.append([])
        found[-1].append(index)
    return found


def _padded(rows: Sequence[Encoded]) -> tuple[torch.Tensor, ...]:
    longest, count = max(len(row[3]) for row in rows), len(rows)
    parts = np.zeros((count, longest, PARTS), np.int64)
    flags = np.zeros((count, longest, len(FLAGS)), np.float32)
    vectors = np.zeros((count, longest, rows[0][2].shape[1]), np.float32)
    tags = np.zeros((count, longest), np.int64)
    mask = np.zeros((count, longest), np.float32)
    for at, row in enumerate(rows):
        size = len(row[3])
        parts[at, :size], flags[at, :size], vectors[at, :size] = row[0], row[1], row[2]
        tags[at, :size], mask[at, :size] = row[3], 1
    return tuple(torch.from_numpy(array) for array in (parts, flags, vectors, tags, mask))


def _loss(
    emissions: torch.Tensor, tags: torch.Tensor, mask: torch.Tensor, transitions: torch.Tensor
) -> torch.Tensor:
    """Return the mean of -log p(tags) of a linear chain. Source: Lafferty et al., ICML 2001."""
    chosen = emissions.gather(2, tags.unsqueeze(2)).squeeze(2)
    right = (chosen * mask).sum(dim=1) + transitions[-1][tags[:, 0]]
    right = right + (transitions[tags[:, :-1], tags[:, 1:]] * mask[:, 1:]).sum(dim=1)
    scores = emissions[:, 0] + transitions[-1]
    for at in range(1, emissions.shape[1]):
        following = (
            torch.logsumexp(scores.unsqueeze(2) + transitions[:-1], dim=1) + emissions[:, at]
        )
        scores = torch.where(mask[:, at].unsqueeze(1) > 0, following, scores)
    return (torch.logsumexp(scores, dim=1) - right).mean()


def _forbidden() -> np.ndarray:
    """Return what to add to transitions, so that an I tag follows only a tag of its kind."""
    opens = [not tag.startswith("I-") for tag in TAGS]
    allowed = np.vstack([transition_mask(TAGS), opens])  # (K + 1, K)
    return np.where(allowed, 0, _IMPOSSIBLE).astype(np.float32)


def _tensors(net: _Net) -> dict[str, np.ndarray]:
    """Return what is stored: the large table in 8 bits, the rest in half precision."""
    arrays = {key: value.detach().numpy() for key, value in net.named_parameters()}
    parts = arrays["parts.weight"]
    scale = float(np.abs(parts).max() / 127)
    found: dict[str, np.ndarray] = {
        "parts": np.round(parts / scale).astype(np.int8),
        "parts.scale": np.array(scale, np.float32),
        "vectors": arrays["vectors.weight"].T,
        "flags": arrays["flags.weight"].T,
        "out": arrays["out.weight"].T,
        "out_bias": arrays["out.bias"],
        "transitions": net.transitions().detach().numpy(),
    }
    for at in range(len(DILATIONS)):
        found[f"layers.{at}.weights"] = arrays[f"layers.{at}.weight"].T
        found[f"layers.{at}.bias"] = arrays[f"layers.{at}.bias"]
    small = ("parts", "parts.scale", "transitions")
    return {
        key: value if key in small else np.ascontiguousarray(value).astype(np.float16)
        for key, value in found.items()
    }
