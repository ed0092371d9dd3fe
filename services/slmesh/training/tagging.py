"""Trains taggers: linear-chain conditional random fields over hashed features.

For the entities model it reads a recipe, trains, calibrates and measures on validation data, and
writes the bundle with its card. The same feature and decoding code serves the model. Test data are
never read.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from slmesh.mesh.bundle import Bundle, digest_of, write_bundle
from slmesh.slm.entities.features import FEATURES_PER_TOKEN, Token, hashed_features, sequences
from slmesh.slm.entities.tagger import LinearTagger, TaggedSpan, transition_mask
from slmesh.training.tagging_data import LABELS, MarkedText, common_words, texts_for
from slmesh.training.tagging_report import calibration_error, card, measured
from slmesh.weights.fetch import Progress, silent

TAGS = ("O", *(f"{part}-{label}" for label in LABELS for part in "BI"))
_FORBIDDEN = np.float32(-1e4)


class FieldTrainer:
    """Learns the weights by AdaGrad on the log likelihood of whole sentences.

    Args:
        bits: binary logarithm of the number of feature buckets.
        rate: AdaGrad's step.
        decay: how much of a touched weight is taken away at each step.
        dropped: share of the features that a step does not see, so that no name is learnt by heart.
        seed: of the order of the sentences and of what is dropped.
        tags: O, and B-x and I-x of each label.
    """

    def __init__(
        self,
        bits: int,
        rate: float,
        decay: float,
        dropped: float,
        seed: int,
        tags: Sequence[str] = TAGS,
    ) -> None:
        self.bits, self.rate, self.decay, self.dropped = bits, rate, decay, dropped
        self.draw = np.random.default_rng(seed)
        count = len(tags)
        self.may_open = np.array([not tag.startswith("I-") for tag in tags])
        self.weights = np.zeros((1 << bits, count), dtype=np.float32)
        self.squares = np.full_like(self.weights, 1e-6)
        self.transitions = np.zeros((count, count), dtype=np.float32)
        self.transition_squares = np.full_like(self.transitions, 1e-6)
        self.opening = np.zeros(count, dtype=np.float32)
        self.opening_squares = np.full_like(self.opening, 1e-6)
        self.allowed = transition_mask(tags)

    def step(self, features: np.ndarray, tags: np.ndarray, lengths: np.ndarray) -> None:
        """Learn from sentences: features (B, T, F), tags (B, T), both padded; lengths (B,)."""
        inside = np.arange(features.shape[1]) < lengths[:, None]  # (B, T)
        seen = self.draw.random(features.shape) >= self.dropped
        scores = np.einsum("btfk,btf->btk", self.weights[features], seen.astype(np.float32))
        scores /= np.float32(1 - self.dropped)
        unary, pairs = self._expected(scores, lengths)
        unary[~inside] = 0
        rows, steps = np.nonzero(inside)
        unary[rows, steps, tags[rows, steps]] -= 1
        gold = np.zeros_like(pairs)
        following = inside[:, 1:]
        np.add.at(gold, (tags[:, :-1][following], tags[:, 1:][following]), 1)
        self._learn_features(features[inside], unary[inside], seen[inside])
        self._learn(self.transitions, self.transition_squares, pairs - gold)
        self._learn(self.opening, self.opening_squares, unary[:, 0].sum(axis=0))

    def _expected(self, scores: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the expected tags (B, T, K) and summed tag pairs (K, K) under the model."""
        _, longest, count = scores.shape
        kernel = np.where(self.allowed, np.exp(self.transitions), 0)
        opening = np.where(self.may_open, np.exp(self.opening), 0)
        emission = np.exp(scores - scores.max(axis=2, keepdims=True))
        forward = np.zeros_like(emission)
        backward = np.ones_like(emission)
        forward[:, 0] = _normalised(opening * emission[:, 0])
        for at in range(1, longest):
            forward[:, at] = _normalised((forward[:, at - 1] @ kernel) * emission[:, at])
        for at in range(longest - 2, -1, -1):
            onward = _normalised((emission[:, at + 1] * backward[:, at + 1]) @ kernel.T)
            backward[:, at] = np.where((at + 1 < lengths)[:, None], onward, 1)
        pairs = np.zeros((count, count), dtype=np.float32)
        for at in range(1, longest):
            both = (
                forward[:, at - 1, :, None]
                * kernel
                * (emission[:, at] * backward[:, at])[:, None, :]
            )
            both /= np.maximum(both.sum(axis=(1, 2), keepdims=True), 1e-30)
            pairs += both[at < lengths].sum(axis=0)
        return _normalised(forward * backward), pairs

    def _learn_features(self, features: np.ndarray, error: np.ndarray, seen: np.ndarray) -> None:
        touched, places = np.unique(features, return_inverse=True)
        places = places.reshape(features.shape)
        gradient = np.empty((len(touched), error.shape[1]), dtype=np.float32)
        for tag in range(error.shape[1]):
            spread = seen * error[:, tag : tag + 1]
            gradient[:, tag] = np.bincount(places.ravel(), spread.ravel(), len(touched))
        gradient += self.decay * self.weights[touched]
        self.squares[touched] += gradient**2
        self.weights[touched] -= self.rate * gradient / np.sqrt(self.squares[touched])

    def _learn(self, values: np.ndarray, squares: np.ndarray, gradient: np.ndarray) -> None:
        squares += gradient**2
        values -= self.rate * gradient / np.sqrt(squares)

    def tensors(self, outside_penalty: float) -> dict[str, np.ndarray]:
        """Return the weights as the bundle stores them, in 8 bits with one scale per tag.

        Args:
            outside_penalty: taken from the score of the tag O at every token: more names are found,
                and more of them wrongly.
        """
        penalty = np.zeros(len(self.opening), dtype=np.float32)
        penalty[0] = outside_penalty
        scales = np.maximum(np.abs(self.weights).max(axis=0), 1e-6) / 127
        return {
            "weights": np.round(self.weights / scales).astype(np.int8),
            "scales": scales.astype(np.float32),
            "transitions": np.where(self.allowed, self.transitions - penalty, _FORBIDDEN),
            "opening": np.where(self.may_open, self.opening - penalty, _FORBIDDEN),
        }


def _normalised(values: np.ndarray) -> np.ndarray:
    shares: np.ndarray = values / np.maximum(values.sum(axis=-1, keepdims=True), np.float32(1e-30))
    return shares


def sentence_tags(
    marked: MarkedText, names: Sequence[str] = TAGS
) -> list[tuple[list[Token], list[int]]]:
    """Return the sentences of a text with the number of the tag of each token."""
    rows = []
    for sentence in sequences(marked.text):
        tags = []
        for token in sentence:
            tag = "O"
            for label, start, end in marked.spans:
                if token.start < end and token.end > start:
                    tag = f"{'B' if token.start <= start else 'I'}-{label}"
            tags.append(names.index(tag))
        rows.append((sentence, tags))
    return rows


def trained(
    texts: Sequence[MarkedText],
    common: Sequence[int],
    recipe: Mapping[str, Any],
    progress: Progress = silent,
    tags: Sequence[str] = TAGS,
) -> dict[str, np.ndarray]:
    """Train on the texts with the recipe's numbers; return the bundle's tensors."""
    known = frozenset(common)
    numbers = recipe["numbers"]
    trainer = FieldTrainer(
        numbers["bits"], numbers["rate"], numbers["decay"], numbers["dropped"], recipe["seed"], tags
    )
    sentences = [
        (np.array(hashed_features(sentence, numbers["bits"], known)), np.array(row))
        for marked in texts
        for sentence, row in sentence_tags(marked, tags)
    ]
    draw = random.Random(recipe["seed"])
    for epoch in range(numbers["epochs"]):
        trainer.rate = numbers["rate"] * (1 - epoch / numbers["epochs"])
        # Sentences of like length share a step, so that padding stays small.
        order = sorted(range(len(sentences)), key=lambda at: (len(sentences[at][1]), draw.random()))
        batches = [
            order[at : at + numbers["batch"]] for at in range(0, len(order), numbers["batch"])
        ]
        draw.shuffle(batches)
        for at, batch in enumerate(batches):
            trainer.step(*_padded([sentences[place] for place in batch]))
            done = epoch + (at + 1) / len(batches)
            progress("training the tagger", done / numbers["epochs"])
    tensors = trainer.tensors(numbers["outside_penalty"])
    return tensors | {"common": np.array(sorted(known), dtype=np.int64)}


def _padded(
    rows: Sequence[tuple[np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    lengths = np.array([len(tags) for _, tags in rows])
    longest = int(lengths.max())
    features = np.zeros((len(rows), longest, FEATURES_PER_TOKEN), dtype=np.int32)
    tags = np.zeros((len(rows), longest), dtype=np.int64)
    for at, (row_features, row_tags) in enumerate(rows):
        features[at, : len(row_tags)] = row_features
        tags[at, : len(row_tags)] = row_tags
    return features, tags, lengths


def span_odds(
    gold: Sequence[Collection[tuple[str, int, int]]],
    found: Sequence[Sequence[TaggedSpan]],
    labels: Sequence[str],
) -> tuple[dict[str, list[float]], dict[str, list[bool]]]:
    """Return by label the log odds of the spans found in some texts, and whether each is right."""
    odds: dict[str, list[float]] = {label: [] for label in labels}
    right: dict[str, list[bool]] = {label: [] for label in labels}
    for known, spans in zip(gold, found, strict=True):
        for span in spans:
            clipped = min(max(span.probability, 1e-6), 1 - 1e-6)
            odds[span.label].append(float(np.log(clipped / (1 - clipped))))
            right[span.label].append((span.label, span.start, span.end) in known)
    return odds, right


def calibrated(
    tensors: Mapping[str, np.ndarray], texts: Sequence[MarkedText]
) -> dict[str, dict[str, float]]:
    """Return for each label the logistic curve from log odds to the share of right spans."""
    from sklearn.linear_model import LogisticRegression

    plain = {label: {"slope": 1.0, "intercept": 0.0} for label in LABELS}
    found = LinearTagger(TAGS, tensors, plain).tag([marked.text for marked in texts])
    odds, right = span_odds([marked.spans for marked in texts], found, LABELS)
    curves = {}
    for label in LABELS:
        if len(set(right[label])) < 2:
            raise ValueError(f"the validation texts cannot calibrate '{label}': one outcome only")
        fit = LogisticRegression(C=10.0).fit(np.array(odds[label])[:, None], right[label])
        curves[label] = {"slope": float(fit.coef_[0, 0]), "intercept": float(fit.intercept_[0])}
    return curves


def train(recipe_path: Path, data_dir: Path, progress: Progress = silent) -> Bundle:
    """Train, calibrate, measure and write the entities bundle beside its recipe.

    Args:
        recipe_path: The recipe; ``names.yaml`` and ``golden.jsonl`` lie beside it.
        data_dir: The folder with one folder for each public data set.
        progress: Told of each step.
    """
    folder = recipe_path.parent
    recipe = yaml.safe_load(recipe_path.read_text(encoding="utf-8"))
    names = yaml.safe_load((folder / "names.yaml").read_text(encoding="utf-8"))
    progress("reading data", 0.0)
    training, validation = texts_for(data_dir, recipe, names)
    progress("reading data", 1.0)
    common = common_words(data_dir, recipe["numbers"]["common_from"])
    tensors = trained(training, common, recipe, progress)
    calibration = calibrated(tensors, validation)
    tagger = LinearTagger(TAGS, tensors, calibration)
    # Measured on the other half of what it was fitted on; the bundle gets the fit to all of it.
    half = LinearTagger(TAGS, tensors, calibrated(tensors, validation[::2]))
    progress("measuring", 0.0)
    metrics = measured(tagger, validation, data_dir)
    metrics["ece"] = round(calibration_error(half, validation[1::2]), 4)
    metrics["training_texts"] = len(training)
    content = {
        "name": recipe["name"],
        "version": recipe["version"],
        "contract": "extract/v1",
        "label_set": {"labels": list(LABELS)},
        "tiers": ["linear"],
        "backbone": None,
        "calibration": calibration,
        "metrics": metrics,
        "data": recipe["data"],
        "recipe_digest": digest_of(recipe_path),
        "parameters": {"tags": list(TAGS)},
    }
    texts = {
        "card.md": card(recipe, metrics),
        "golden.jsonl": (folder / "golden.jsonl").read_text(encoding="utf-8"),
    }
    progress("measuring", 1.0)
    return write_bundle(folder / recipe["version"], content, tensors, texts)
