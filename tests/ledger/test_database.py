"""What the ledger's database keeps and finds, on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
import time

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from tests.ledger.conftest import make_record

from slmesh.api.route.v1 import route_pb2
from slmesh.ledger.database import Database, Filter, database_url
from slmesh.ledger.rows import row_of, subject_digest
from slmesh.ledger.schema import DECISIONS
from slmesh.mesh.errors import FailedPrecondition


def store(database, *payloads):
    database.insert([row_of(payload) for payload in payloads])


def test_a_record_is_found_by_decision_and_by_request(database):
    payload = make_record(1)
    store(database, payload)
    assert database.by_decision("d1") == payload
    assert database.by_decision("d1", "t") == payload
    assert database.by_request("t", "r1") == payload


@pytest.mark.parametrize("tenant", ["other", ""])
def test_a_record_is_not_found_for_another_tenant(database, tenant):
    store(database, make_record(1))
    assert database.by_decision("d1", tenant) is None
    assert database.by_request(tenant, "r1") is None


def test_a_record_that_is_stored_twice_is_there_once(database):
    payloads = [make_record(number) for number in range(3)]
    store(database, *payloads[:2])
    store(database, *payloads)
    assert database.count(Filter()) == 3


def test_records_are_listed_newest_first_over_many_pages(database):
    now_s = time.time()
    store(database, *(make_record(n, created_s=now_s - n) for n in range(1200)))
    assert [row["decision_id"] for row in database.rows(Filter())] == [f"d{n}" for n in range(1200)]
    assert len(list(database.records(Filter(), limit=700))) == 700
    assert len(list(database.records(Filter(), limit=3))) == 3


def test_records_of_one_moment_are_listed_once_each(database):
    store(database, *(make_record(number, created_s=5.0) for number in range(1100)))
    names = [row["decision_id"] for row in database.rows(Filter())]
    assert len(names) == len(set(names)) == 1100


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        pytest.param(Filter(tenant="a"), {"d1", "d2"}, id="tenant"),
        pytest.param(Filter(flow="other"), {"d2"}, id="flow"),
        pytest.param(Filter(path="escalated"), {"d3"}, id="path"),
        pytest.param(Filter(since_us=2_000_000), {"d2", "d3"}, id="since"),
        pytest.param(Filter(before_us=2_000_000), {"d1"}, id="before"),
        pytest.param(Filter(tenant="a", flow="other"), {"d2"}, id="two"),
    ],
)
def test_a_filter_chooses(database, wanted, names):
    store(
        database,
        make_record(1, tenant="a", created_s=1),
        make_record(2, tenant="a", flow="other", created_s=2),
        make_record(3, tenant="b", path=route_pb2.PATH_ESCALATED, created_s=3),
    )
    assert {row["decision_id"] for row in database.rows(wanted)} == names
    assert database.count(wanted) == len(names)


def test_records_go_when_their_time_is_over(database):
    now_s = time.time()
    store(
        database,
        make_record(1, created_s=now_s - 100, keep_s=50),
        make_record(2, created_s=now_s - 100, keep_s=500),
    )
    assert database.purge(round(now_s * 1e6)) == 1
    assert database.purge(round(now_s * 1e6)) == 0
    assert [row["decision_id"] for row in database.rows(Filter())] == ["d2"]


def test_deleting_a_subject_takes_what_is_there_and_what_was_on_its_way(database):
    store(database, make_record(1, subject="ann"), make_record(2, subject="bob"))
    on_its_way = make_record(3, subject="ann")
    digest = subject_digest("t", "ann")
    assert database.delete_subject(digest, time.time_ns() // 1000) == 1
    store(database, on_its_way, make_record(4, subject="bob"))
    later = make_record(5, subject="ann", created_s=time.time() + 1)
    store(database, later)
    assert {row["decision_id"] for row in database.rows(Filter())} == {"d2", "d4", "d5"}
    ((number, deleted, _),) = database.deletions(0)
    assert deleted == digest
    assert database.deletions(number) == []


def test_a_subject_of_another_tenant_is_another_subject():
    assert subject_digest("a", "ann") != subject_digest("b", "ann")
    assert subject_digest("a", "") == ""


def test_the_migrated_schema_is_the_one_the_code_uses(url, tmp_path):
    database = Database(database_url(url, tmp_path))
    database.prepare()
    database.close()
    engine = sa.create_engine(database_url(url, tmp_path))
    ours = set(DECISIONS.metadata.tables)
    with engine.connect() as connection:
        # the same database holds the budgets' tables, which have tests of their own
        opts = {"include_name": lambda name, kind, _: kind != "table" or name in ours}
        context = MigrationContext.configure(connection, opts=opts)
        difference = compare_metadata(context, DECISIONS.metadata)
    engine.dispose()
    assert difference == []


def test_two_that_start_at_once_migrate_one_after_the_other(url, tmp_path):
    opened = [Database(database_url(url, tmp_path)) for _ in range(4)]
    failures = []

    def prepare(database):
        try:
            database.prepare()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=prepare, args=(one,)) for one in opened]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert all(database.count(Filter()) == 0 for database in opened)
    for database in opened:
        database.close()


def test_a_database_of_a_newer_version_is_left_alone(url, tmp_path):
    old = Database(database_url(url, tmp_path))
    old.prepare()
    old.close()
    engine = sa.create_engine(database_url(url, tmp_path))
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE ledger_schema SET version_num = '9999'"))
    engine.dispose()
    database = Database(database_url(url, tmp_path))
    with pytest.raises(FailedPrecondition) as caught:
        database.prepare()
    assert caught.value.reason == "LEDGER_SCHEMA_UNKNOWN"
    database.close()


@pytest.mark.parametrize("url", ["mysql://x/y", "nonsense", "ledger.db"])
def test_a_url_the_ledger_cannot_use_is_refused_with_the_setting(url, tmp_path):
    with pytest.raises(FailedPrecondition, match="SLMESH_LEDGER_URL") as caught:
        database_url(url, tmp_path)
    assert caught.value.reason == "INVALID_SETTING"
