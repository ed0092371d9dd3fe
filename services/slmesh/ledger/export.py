"""Writes recorded decisions to a file that other programs read: Parquet or JSON lines.

A JSON line is the whole record with the names of its proto file. A Parquet row has the columns of the
database, what was asked and answered, and steps and conditions as lists.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict

from slmesh.api.ledger.v1 import record_pb2
from slmesh.api.route.v1 import route_pb2
from slmesh.api.signal.v1 import signal_pb2
from slmesh.ledger.rows import columns_of, read_record, word
from slmesh.mesh.errors import FailedPrecondition

__all__ = ["as_json", "parquet_row", "write_json_lines", "write_parquet"]

_BATCH = 1000


def as_json(record: record_pb2.DecisionRecord) -> Mapping[str, Any]:
    """Return a record as JSON-able values."""
    found: Mapping[str, Any] = MessageToDict(record, preserving_proto_field_name=True)
    return found


def write_json_lines(records: Iterable[bytes], file: Path) -> int:
    """Write serialised records, one a line; return how many."""
    count = 0
    with file.open("w", encoding="utf-8") as lines:
        for payload in records:
            lines.write(json.dumps(as_json(read_record(payload)), ensure_ascii=False) + "\n")
            count += 1
    return count


def write_parquet(records: Iterable[bytes], file: Path) -> int:
    """Write serialised records as Parquet, batch by batch; return how many.

    Raises:
        FailedPrecondition: PyArrow is not installed.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise FailedPrecondition(
            "Parquet needs PyArrow: pip install 'slmesh[ledger]'", reason="PYARROW_MISSING"
        ) from None
    schema = _schema(pa)
    count = 0
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for rows in _batches(parquet_row(payload) for payload in records):
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            count += len(rows)
    return count


def parquet_row(payload: bytes) -> dict[str, Any]:
    """Return a serialised record as one row."""
    record = read_record(payload)
    decision = record.explanation.decision
    return {
        **columns_of(record),
        "text": record.request.text,
        "documents": list(record.request.documents),
        "answer": decision.answer.text,
        "answer_model": decision.answer.provenance.model,
        "answer_version": decision.answer.provenance.version,
        "reasons": [reason.code for reason in decision.reasons],
        "degradations": [degradation.code for degradation in decision.degradations],
        "steps": [_step(step) for step in decision.steps],
        "conditions": [_condition(condition) for condition in record.explanation.conditions],
    }


def _step(step: route_pb2.Step) -> dict[str, Any]:
    kind = step.signal.WhichOneof("answer")
    provenance = getattr(step.signal, kind).provenance if kind else None
    label, probability = _first(step.signal)
    return {
        "name": step.name,
        "service": step.service,
        "state": word(route_pb2.StepState, "STEP_STATE_", step.state),
        "model": provenance.model if provenance else None,
        "version": provenance.version if provenance else None,
        "digest": provenance.digest if provenance else None,
        "tier": provenance.tier if provenance else None,
        "start_ms": _milliseconds(step, "start_offset"),
        "latency_ms": _milliseconds(step, "latency"),
        "first": label,
        "probability": probability,
    }


def _first(signal: signal_pb2.Signal) -> tuple[str | None, float | None]:
    """Return what a classifier or a ranker put first, and its probability."""
    for label in signal.classification.labels.labels:
        return label.name, label.probability
    for passage in signal.ranking.ranking.passages:
        return passage.id, passage.probability if passage.HasField("probability") else None
    return None, None


def _condition(condition: route_pb2.Condition) -> dict[str, Any]:
    return {
        "code": condition.code,
        "step": condition.step,
        "quantity": condition.quantity,
        "value": condition.value if condition.HasField("value") else None,
        "threshold": condition.threshold if condition.HasField("threshold") else None,
        "held": condition.held,
    }


def _milliseconds(step: route_pb2.Step, field: str) -> float | None:
    return getattr(step, field).ToNanoseconds() / 1e6 if step.HasField(field) else None


def _batches(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    left = iter(rows)
    while batch := list(islice(left, _BATCH)):
        yield batch


def _schema(pa: Any) -> Any:
    text, number, real, flag = pa.string(), pa.int64(), pa.float64(), pa.bool_()
    steps = {
        "name": text, "service": text, "state": text, "model": text, "version": text,
        "digest": text, "tier": text, "start_ms": real, "latency_ms": real, "first": text,
        "probability": real,
    }  # fmt: skip
    conditions = {
        "code": text, "step": text, "quantity": text, "value": real, "threshold": real,
        "held": flag,
    }  # fmt: skip
    columns = {
        "decision_id": text, "tenant": text, "request_id": text, "request_digest": text,
        "subject_digest": text, "create_time_us": number, "record_time_us": number,
        "expire_time_us": number, "flow": text, "flow_revision": text, "path": text,
        "reason": text, "answer_source": text, "degraded": flag, "latency_ms": real,
        "prompt_tokens": number, "output_tokens": number, "usd_micros": number,
        "all_llm_usd_micros": number, "text_kept": text, "text": text,
        "documents": pa.list_(text), "answer": text, "answer_model": text,
        "answer_version": text, "reasons": pa.list_(text), "degradations": pa.list_(text),
        "steps": pa.list_(pa.struct(list(steps.items()))),
        "conditions": pa.list_(pa.struct(list(conditions.items()))),
    }  # fmt: skip
    return pa.schema(list(columns.items()))
