"""Makes and measures the guard's check for personal data: the tagger, and the threshold of redaction.

Templates of presidio_pii are cross-validated: each is judged by a tagger that has not seen its text.
It knows the rules only through the check that serves them.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from slmesh.evaluation.label_maps import label_map
from slmesh.recognise import Match
from slmesh.slm.guard.personal import find_personal_data
from slmesh.slm.guard.tagger import KINDS, Network, Tagger
from slmesh.slm.guard.words import Lexicon
from slmesh.tiers.encoder import SentenceEncoder
from slmesh.training.screening_data import bucket, read_rows, template_of
from slmesh.training.screening_lexicon import common_words, make_lexicon
from slmesh.training.screening_sentences import (
    PRESIDIO_FILES,
    Sources,
    presidio_rows,
    read_lists,
    seen_values,
    sentences,
)
from slmesh.training.screening_tagger import fold_of, tagger_tensors, train_tagger

__all__ = [
    "Answers",
    "Taggers",
    "answers",
    "character_recall",
    "chosen_leniency",
    "figures",
    "leniency_curve",
    "personal_metrics",
    "train_taggers",
]

_TOKEN = re.compile(r"\w+|[^\w\s]")
_LENIENCIES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
_EVERY = 3
"""Of how many rows one is read for the curve of leniency: each template has many."""
Span = tuple[str, int, int]


@dataclass(frozen=True)
class Taggers:
    """What training makes.

    Attributes:
        tensors: Of the bundle, for the tagger of all training templates.
        by_fold: For each fold one that has not seen its templates.
    """

    tensors: Mapping[str, np.ndarray]
    by_fold: Sequence[Tagger]

    def blind_to(self, template: str) -> Tagger:
        """Return a tagger that has not been trained on a training template."""
        return self.by_fold[fold_of(template, len(self.by_fold))]


@dataclass(frozen=True)
class Answers:
    """What was found in the rows of one file.

    Attributes:
        texts: The texts.
        gold: What should be found, for each text.
        found: What was found.
        seconds: Of processor time of one core.
    """

    texts: Sequence[str]
    gold: Sequence[set[Span]]
    found: Sequence[set[Span]]
    seconds: float


def train_taggers(
    recipe: Path,
    plan: Mapping[str, Any],
    data_dir: Path,
    passages: Path,
    encoder: SentenceEncoder,
    say: Callable[[str], None],
) -> Taggers:
    """Return the tagger of all training templates, and for each fold one that has not seen it.

    Args:
        recipe: The recipe; names, templates and phrases lie next to it.
        plan: Its content.
        data_dir: The folder of all data sets.
        passages: A collection written for this project, as texts without names.
        encoder: Makes the vectors of common words.
        say: Told of each step.
    """
    numbers, seed = plan["numbers"]["tagger"], plan["seed"]
    lists = read_lists(recipe.parent / "names.yaml")
    sources = Sources(
        data_dir=data_dir,
        passages=passages,
        phrases=recipe.parent / "phrases.yaml",
        templates=recipe.parent / "templates.yaml",
        lists=lists,
        numbers=numbers["rows"],
        seed=seed,
    )
    first_names = {name.lower() for name in lists["first"]}
    common = common_words(data_dir, numbers["common_words"], numbers["dimensions"], encoder)
    rows = presidio_rows(data_dir / "presidio_pii")

    def trained(fold: int | None) -> tuple[dict[str, np.ndarray], Lexicon]:
        mine = [row for row in rows if fold_of(template_of(row), numbers["folds"]) != fold]
        lexicon = make_lexicon(common, lists, seen_values(mine, first_names), numbers["bits"])
        return train_tagger(sentences(sources, mine), lexicon, numbers, seed, say), lexicon

    tensors = tagger_tensors(*trained(None))
    by_fold = []
    for fold in range(numbers["folds"]):
        say(f"cross-validation of the tagger, fold {fold + 1} of {numbers['folds']}")
        network, lexicon = trained(fold)
        by_fold.append(Tagger(Network.from_tensors(network), lexicon))
    return Taggers(tensors, by_fold)


def answers(
    folder: Path,
    name: str,
    buckets: range,
    tagger_of: Callable[[str], Tagger],
    leniency: float = 0.0,
    every: int = 1,
) -> Answers:
    """Return what the check finds in some templates of a file of presidio_pii.

    Args:
        folder: The data set.
        name: The file, without its ending.
        buckets: Of the templates.
        tagger_of: The tagger for a template.
        leniency: Of redaction, see :class:`Tagger`.
        every: One of so many rows is read.
    """
    kinds: Mapping[str, str] = label_map("guard", "presidio_pii")
    rows = [
        row for row in read_rows(folder / f"{name}.jsonl") if bucket(row["template_id"]) in buckets
    ][::every]
    started = time.process_time()  # of one core, whatever else the machine does
    matches = [
        find_personal_data(row["text"], partial(tagger_of(template_of(row)), leniency=leniency))
        for row in rows
    ]
    seconds = time.process_time() - started
    gold = [
        {
            (kinds[span["label"]], span["start"], span["end"])
            for span in row["spans"]
            if span["label"] in kinds
        }
        for row in rows
    ]
    found = [_told(match, frozenset(kinds.values())) for match in matches]
    return Answers([row["text"] for row in rows], gold, found, seconds)


def _told(matches: Iterable[Match], kinds: frozenset[str]) -> set[Span]:
    return {(match.kind, match.start, match.end) for match in matches if match.kind in kinds}


def figures(given: Answers) -> dict[str, Any]:
    """Return exact span scores in all and by kind, recall of characters, F2 and speed.

    ``token_f2`` weighs recall four times as much as precision, over words and signs of which any part
    is personal data, whatever the kind. Source: the evaluator of presidio-research, beta 2.
    """
    counts = {"right": Counter[str](), "wrong": Counter[str](), "missed": Counter[str]()}
    tokens = Counter[str]()
    for text, gold, found in zip(given.texts, given.gold, given.found, strict=True):
        counts["right"].update(kind for kind, _, _ in gold & found)
        counts["wrong"].update(kind for kind, _, _ in found - gold)
        counts["missed"].update(kind for kind, _, _ in gold - found)
        wanted, had = _covered(gold), _covered(found)
        for token in _TOKEN.finditer(text):
            places = range(*token.span())
            is_wanted, is_had = not wanted.isdisjoint(places), not had.isdisjoint(places)
            tokens.update(wanted=is_wanted, had=is_had, right=is_wanted and is_had)
    recall = character_recall(given)
    kinds = sorted(set().union(*counts.values()))
    return {
        "n": len(given.texts),
        "character_recall": recall["all"],
        "token_f2": 5 * tokens["right"] / max(1, 4 * tokens["wanted"] + tokens["had"]),
        "characters_per_s": round(sum(map(len, given.texts)) / max(given.seconds, 1e-9)),
        "kinds": {
            kind: _scored(*(counts[key][kind] for key in counts))
            | {"character_recall": recall.get(kind, 1.0)}
            for kind in kinds
        },
        "all": _scored(*(counts[key].total() for key in counts)),
    }


def character_recall(given: Answers) -> dict[str, float]:
    """Return the share of the characters of personal data that is covered, by kind and in all.

    Covered by whatever kind, and by nothing less than redaction would: what is left leaks.
    """
    wanted, had = Counter[str](), Counter[str]()
    for gold, found in zip(given.gold, given.found, strict=True):
        covered = _covered(found)
        for kind, start, end in gold:
            inside = len(covered.intersection(range(start, end)))
            for key in (kind, "all"):
                wanted[key] += end - start
                had[key] += inside
    return {key: had[key] / count for key, count in wanted.items()} or {"all": 1.0}


def personal_metrics(
    data_dir: Path, buckets: range, tagger_of: Callable[[str], Tagger], leniency: float
) -> dict[str, Any]:
    """Return the figures of both files of presidio_pii.

    Of each also the ``redaction``: the share of the characters of each kind that redaction covers.
    """
    measured: dict[str, Any] = {}
    for name in PRESIDIO_FILES:
        folder = data_dir / "presidio_pii"
        measured[name] = figures(answers(folder, name, buckets, tagger_of))
        measured[name]["redaction"] = character_recall(
            answers(folder, name, buckets, tagger_of, leniency)
        )
    return measured


def chosen_leniency(curve: Sequence[Mapping[str, float]], recall: float) -> float:
    """Return the least leniency at which redaction covers that share of names and addresses.

    Where none does, the greatest that was tried.
    """
    enough = [point["leniency"] for point in curve if point["recall"] >= recall]
    return min(enough, default=max(point["leniency"] for point in curve))


def leniency_curve(
    data_dir: Path, buckets: range, tagger_of: Callable[[str], Tagger]
) -> list[dict[str, float]]:
    """Return for rising leniency what redaction covers of names and addresses, and what in vain.

    Each point has ``leniency``, ``recall``: of the characters of persons and addresses, and
    ``in_vain``: the share of all other characters that is covered too.
    """
    folder = data_dir / "presidio_pii"
    points = []
    for leniency in _LENIENCIES:
        wanted = had = others = in_vain = 0
        for name in PRESIDIO_FILES:
            given = answers(folder, name, buckets, tagger_of, leniency, _EVERY)
            for text, gold, found in zip(given.texts, given.gold, given.found, strict=True):
                covered, all_gold = _covered(found), _covered(gold)
                named = _covered(span for span in gold if span[0] in KINDS)
                wanted, had = wanted + len(named), had + len(named & covered)
                others += len(text) - len(all_gold)
                in_vain += len(covered - all_gold)
        points.append(
            {
                "leniency": leniency,
                "recall": had / max(1, wanted),
                "in_vain": in_vain / max(1, others),
            }
        )
    return points


def _covered(spans: Iterable[Span]) -> set[int]:
    return {place for _, start, end in spans for place in range(start, end)}


def _scored(right: int, wrong: int, missed: int) -> dict[str, float]:
    return {
        "n": right + missed,
        "precision": right / max(1, right + wrong),
        "recall": right / max(1, right + missed),
        "f1": 2 * right / max(1, 2 * right + wrong + missed),
    }
