"""Reads rows as cases of the rank contract: questions, each asked of a pool of passages.

A pool is what the set's README says: all snippets of the entity asked about, or all answers of the
evaluated rows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from slmesh.evaluation.cases import Case, Cases, Pool, Question
from slmesh.evaluation.formats import DataFile
from slmesh.evaluation.rows import Row
from slmesh.evaluation.subject import Subject
from slmesh.mesh.errors import InvalidArgument

__all__ = ["MEDQUAD_TOKENS", "first_tokens", "question_cases"]

MEDQUAD_TOKENS = 128
"""Tokens of an answer of MedQuAD that are ranked, those that open and close it included."""

_SPECIAL_TOKENS = 2
_TURNS, _KNOWLEDGE = "dstc11_turns", "dstc11_knowledge"


def question_cases(files: Sequence[DataFile], subject: Subject) -> Cases:
    """Return the cases of a ranker.

    Raises:
        InvalidArgument: A row is wrong, or the turns of DSTC11 come without their knowledge.
    """
    rows: dict[str, list[Row]] = defaultdict(list)
    for file in files:
        rows[file.format.name] += file.rows
    cases: list[Case] = []
    left_out: Counter[str] = Counter()
    cases += _dstc9(rows["dstc9_faq"], subject)
    cases += _dstc11(rows[_TURNS], rows[_KNOWLEDGE], subject, left_out)
    cases += _medquad(rows["medquad"], subject)
    cases += [_golden(row) for row in rows["golden_questions"]]
    return Cases(tuple(cases), left_out)


def _pool(name: str, passages: dict[str, str], subject: Subject) -> Pool:
    large = len(passages) > subject.most_candidates
    collection = name if large and subject.indexes else ""
    return Pool(name, passages, collection, subject.most_candidates)


def _dstc9(rows: Sequence[Row], subject: Subject) -> Iterator[Question]:
    """Each snippet's question, asked of all answers of its entity."""
    entities: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        entities[str(row.values.get("domain")), str(row.values["entity_id"])].append(row)
    for (domain, entity), snippets in entities.items():
        passages = {str(place): row.text("answer") for place, row in enumerate(snippets)}
        pool = _pool(f"dstc9/{domain}/{entity}", passages, subject)
        for place, row in enumerate(snippets):
            yield Question(
                "dstc9_faq", row.place, row.text("question"), pool, frozenset({str(place)})
            )


def _dstc11(
    turns: Sequence[Row], knowledge: Sequence[Row], subject: Subject, left_out: Counter[str]
) -> Iterator[Question]:
    """The last user turn, asked of all snippets of the entities that its answers are about."""
    if turns and not knowledge:
        raise InvalidArgument(
            f"{turns[0].place}: these turns are asked of knowledge: give its file (columns doc_id,"
            " entity_id, doc_type, text) with --data too",
            reason="NO_KNOWLEDGE",
        )
    entities: dict[str, list[Row]] = defaultdict(list)
    for row in knowledge:
        entities[_entity(row.text("doc_id"))].append(row)
    pools: dict[tuple[str, ...], Pool] = {}
    questions: dict[tuple[str, ...], list[Question]] = defaultdict(list)
    for row in turns:
        relevant = frozenset(map(str, row.items("relevant")))
        if not row.truth("knowledge_seeking") or not relevant:
            left_out[f"{_TURNS}: the turn seeks no knowledge"] += 1
            continue
        about = tuple(sorted({_entity(name) for name in relevant}))
        if about not in pools:
            snippets = [snippet for entity in about for snippet in entities[entity]]
            passages = {snippet.text("doc_id"): snippet.text("text") for snippet in snippets}
            pools[about] = _pool("dstc11/" + "+".join(about), passages, subject)
        missing = relevant - pools[about].passages.keys()
        if missing:
            raise row.wrong(f"the knowledge has no snippet '{min(missing)}'")
        question = Question(_TURNS, row.place, row.text("query"), pools[about], relevant)
        questions[about].append(question)
    # pool by pool, as a service that remembers passages reads each of them once
    for asked in questions.values():
        yield from asked


def _entity(snippet: str) -> str:
    """Return the domain and entity of a snippet's id, "hotel/0" of "hotel/0/faq/1"."""
    return "/".join(snippet.split("/")[:2])


def _medquad(rows: Sequence[Row], subject: Subject) -> Iterator[Question]:
    """Each question, asked of all answers of the rows; of an answer the first 128 tokens.

    Some questions are asked word for word in several rows, with an answer from another site each.
    Nothing tells such rows apart, so each of their answers is right; the row's own is kept as well.
    """
    if not rows:
        return
    cut = first_tokens(subject.tokenizer)
    passages = {str(place): cut(row.text("answer")) for place, row in enumerate(rows)}
    pool = _pool("medquad", passages, subject)
    answers: dict[str, set[str]] = defaultdict(set)
    for place, row in enumerate(rows):
        answers[row.text("question")].add(str(place))
    for place, row in enumerate(rows):
        question, own = row.text("question"), frozenset({str(place)})
        expected = frozenset(answers[question])
        yield Question("medquad", row.place, question, pool, expected, own=own)


def first_tokens(tokenizer_file: Path | None) -> Callable[[str], str]:
    """Return what keeps the first :data:`MEDQUAD_TOKENS`; words where there is no tokenizer."""
    most = MEDQUAD_TOKENS - _SPECIAL_TOKENS
    if tokenizer_file is None:
        return lambda text: " ".join(text.split()[:most])
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_padding()
    tokenizer.no_truncation()

    def cut(text: str) -> str:
        offsets = tokenizer.encode(text, add_special_tokens=False).offsets
        return text if len(offsets) <= most else text[: offsets[most - 1][1]]

    return cut


def _golden(row: Row) -> Question:
    """A question asked of a collection the service declares; no id where nothing answers it."""
    pool = Pool("", {}, row.text("collection"))
    answers = frozenset[str]() if row.values.get("id") is None else frozenset({row.text("id")})
    return Question("golden_questions", row.place, row.text("query"), pool, answers)
