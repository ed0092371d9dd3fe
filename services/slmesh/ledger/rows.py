"""One recorded decision as a row of the database, and the keys it is found by in the spool.

The columns are what records are listed and counted by; everything else is in the record itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from slmesh.api.ledger.v1 import record_pb2
from slmesh.api.route.v1 import route_pb2

__all__ = [
    "columns_of",
    "decision_key",
    "keys_of",
    "read_record",
    "record_keys",
    "request_key",
    "row_of",
    "subject_digest",
    "word",
]


def subject_digest(tenant: str, subject: str) -> str:
    """Return under which name a subject's records are kept; empty for no subject.

    The caller's own name of a person stays with the caller: the ledger can find what belongs to it
    and tell nobody whose it is.
    """
    return hashlib.sha256(f"{tenant}\0{subject}".encode()).hexdigest() if subject else ""


def decision_key(tenant: str, decision_id: str) -> str:
    """Return the key of a decision in the spool."""
    return f"d\0{tenant}\0{decision_id}"


def request_key(tenant: str, request_id: str) -> str:
    """Return the key of a request in the spool."""
    return f"r\0{tenant}\0{request_id}"


def keys_of(payload: bytes) -> Sequence[str]:
    """Return the keys of a serialised record."""
    return record_keys(read_record(payload))


def record_keys(record: record_pb2.DecisionRecord) -> Sequence[str]:
    """Return the keys of a record."""
    decision = record.explanation.decision
    return (
        decision_key(record.tenant, decision.decision_id),
        request_key(record.tenant, decision.request_id),
    )


def read_record(payload: bytes) -> record_pb2.DecisionRecord:
    """Return a serialised record."""
    return record_pb2.DecisionRecord.FromString(payload)


def row_of(payload: bytes) -> Mapping[str, Any]:
    """Return the row of a serialised record."""
    return {**columns_of(read_record(payload)), "record": payload}


def columns_of(record: record_pb2.DecisionRecord) -> Mapping[str, Any]:
    """Return the columns of a record, without the record itself."""
    decision = record.explanation.decision
    return {
        "decision_id": decision.decision_id,
        "tenant": record.tenant,
        "request_id": decision.request_id,
        "request_digest": record.request_digest,
        "subject_digest": record.subject_digest,
        "create_time_us": decision.create_time.ToMicroseconds(),
        "record_time_us": record.record_time.ToMicroseconds(),
        "expire_time_us": record.expire_time.ToMicroseconds(),
        "flow": decision.flow,
        "flow_revision": decision.flow_revision,
        "path": word(route_pb2.Path, "PATH_", decision.path),
        "reason": decision.reasons[0].code if decision.reasons else "",
        "answer_source": word(route_pb2.AnswerSource, "ANSWER_SOURCE_", decision.answer.source),
        "degraded": bool(decision.degradations),
        "latency_ms": decision.latency.ToNanoseconds() / 1e6,
        "prompt_tokens": decision.cost.prompt_tokens,
        "output_tokens": decision.cost.output_tokens,
        "usd_micros": decision.cost.usd_micros,
        "all_llm_usd_micros": decision.all_llm_cost.usd_micros,
        "text_kept": word(record_pb2.TextKept, "TEXT_KEPT_", record.text_kept),
    }


def word(enum: Any, prefix: str, number: int) -> str:
    """Return an enum value as the ledger writes it: ``out_of_scope``."""
    try:
        return str(enum.Name(number)).removeprefix(prefix).lower()
    except ValueError:  # written by a newer version
        return str(number)
