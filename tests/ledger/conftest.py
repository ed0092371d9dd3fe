"""Databases and records for the tests of the ledger."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.postgres_server import PostgresServer

from slmesh.api.ledger.v1 import record_pb2
from slmesh.api.route.v1 import route_pb2
from slmesh.ledger.database import Database, database_url
from slmesh.ledger.rows import subject_digest

DAY_S = 86_400


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty database of each kind."""
    if request.param == "sqlite":
        return database_url("", tmp_path)
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_database(f"ledger_{uuid.uuid4().hex}")


@pytest.fixture
def database(url: str, tmp_path: Path) -> Iterator[Database]:
    """Return an empty database of each kind, its schema up to date."""
    opened = Database(database_url(url, tmp_path))
    opened.prepare()
    yield opened
    opened.close()


MakeRecord = Callable[..., bytes]


def make_record(
    name: object,
    *,
    tenant: str = "t",
    flow: str = "desk",
    subject: str = "",
    created_s: float | None = None,
    keep_s: float = DAY_S,
    path: route_pb2.Path = route_pb2.PATH_SMALL,
) -> bytes:
    """Return a serialised record of the decision ``d<name>``."""
    created_s = time.time() if created_s is None else created_s
    decision = route_pb2.Decision(
        decision_id=f"d{name}",
        request_id=f"r{name}",
        flow=flow,
        flow_revision="sha256:0",
        path=path,
    )
    decision.create_time.FromMicroseconds(round(created_s * 1e6))
    decision.answer.text = "It is on its way."
    record = record_pb2.DecisionRecord(
        tenant=tenant,
        explanation=route_pb2.ExplainResponse(decision=decision),
        request=route_pb2.RouteRequest(flow=flow, text="where is it"),
        request_digest="0" * 64,
        text_kept=record_pb2.TEXT_KEPT_REDACTED,
        subject_digest=subject_digest(tenant, subject),
    )
    record.record_time.FromMicroseconds(round(created_s * 1e6))
    record.expire_time.FromMicroseconds(round((created_s + keep_s) * 1e6))
    return record.SerializeToString()
