"""Records reach the database once each: at once, when it is back, and those of dead processes too."""

from __future__ import annotations

import asyncio
import time
import uuid

import pytest
import sqlalchemy as sa
from tests.ledger.conftest import make_record

from slmesh.ledger.database import Database, Filter, database_url
from slmesh.ledger.frames import frames_in
from slmesh.ledger.ledger import Ledger, LedgerOptions
from slmesh.ledger.rows import keys_of, subject_digest
from slmesh.mesh.errors import FailedPrecondition, Unavailable
from slmesh.mesh.metrics import Metrics


class Opened:
    """A ledger with what a test asks of it."""

    def __init__(self, folder, url="", **values):
        self.metrics = Metrics()
        self.health = []
        self.deleted = []
        self.ledger = Ledger(
            LedgerOptions(folder=folder, url=url, **values),
            self.metrics,
            on_health=self.health.append,
            on_deleted=self.deleted.extend,
        )

    async def append(self, *payloads):
        for payload in payloads:
            await self.ledger.append(payload, keys_of(payload))

    def count(self, state):
        return self.metrics.registry.get_sample_value(
            "slmesh_ledger_records_total", {"state": state}
        )

    def gauge(self, name):
        return self.metrics.registry.get_sample_value(f"slmesh_ledger_{name}")


@pytest.fixture
def open_ledger(tmp_path):
    opened = []

    def start(folder=tmp_path, **values):
        opened.append(Opened(folder, **values))
        return opened[-1]

    yield start
    for one in opened:
        one.ledger.close(5.0)


async def until(condition, timeout_s=20.0):
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.02)


def stored(url, folder):
    database = Database(database_url(url, folder))
    names = {row["decision_id"] for row in database.rows(Filter())}
    database.close()
    return names


async def test_records_are_found_before_and_after_they_are_shipped(open_ledger, url, tmp_path):
    opened = open_ledger(url=url)
    payloads = [make_record(number) for number in range(200)]
    await opened.append(*payloads)
    for number in (0, 150, 199):
        assert await opened.ledger.by_decision("t", f"d{number}") == payloads[number]
    await until(lambda: opened.count("shipped") == 200)
    for number in (0, 150, 199):
        assert await opened.ledger.by_decision("t", f"d{number}") == payloads[number]
        assert await opened.ledger.by_request("t", f"r{number}") == payloads[number]
    assert await opened.ledger.by_decision("other", "d0") is None
    assert await opened.ledger.by_request("t", "nothing") is None
    assert stored(url, tmp_path) == {f"d{number}" for number in range(200)}
    assert opened.gauge("database_up") == 1
    assert opened.health == [True]


async def test_closing_ships_the_whole_spool(open_ledger, url, tmp_path):
    opened = open_ledger(url=url)
    await opened.append(*(make_record(number) for number in range(1000)))
    opened.ledger.close(60.0)
    assert stored(url, tmp_path) == {f"d{number}" for number in range(1000)}


async def test_what_closing_leaves_is_told_and_shipped_later(open_ledger, tmp_path, caplog):
    first = open_ledger()
    await first.append(*(make_record(number) for number in range(1000)))
    first.ledger.close(0.0)
    (told,) = [record for record in caplog.records if "not shipped whole" in record.message]
    assert told.bytes > 0
    second = open_ledger()
    await until(lambda: second.count("shipped") == 1000 - first.count("shipped"))
    assert stored("", tmp_path) == {f"d{number}" for number in range(1000)}


async def test_what_was_not_shipped_is_shipped_by_the_next_process(open_ledger, postgres, tmp_path):
    nowhere = "postgresql://nobody@127.0.0.1:9/nothing"
    first = open_ledger(url=nowhere)
    await first.append(*(make_record(number) for number in range(50)))
    await until(lambda: first.health == [False])
    first.ledger.close(5.0)
    url = postgres.new_database(f"ledger_{uuid.uuid4().hex}")
    second = open_ledger(url=url)
    assert await second.ledger.by_decision("t", "d7") is not None
    await until(lambda: second.count("shipped") == 50)
    assert stored(url, tmp_path) == {f"d{number}" for number in range(50)}


async def test_a_database_that_stops_is_waited_for_and_caught_up_with(
    open_ledger, postgres, tmp_path
):
    url = postgres.new_database(f"ledger_{uuid.uuid4().hex}")
    opened = open_ledger(url=url)
    await opened.append(make_record(0))
    await until(lambda: opened.count("shipped") == 1)
    postgres.stop()
    try:
        await opened.append(*(make_record(number) for number in range(1, 301)))
        await until(lambda: opened.health == [True, False])
        assert opened.gauge("database_up") == 0
        await until(lambda: opened.gauge("spool_bytes") > 10_000)
        assert await opened.ledger.by_decision("t", "d300") is not None
        with pytest.raises(Unavailable) as caught:
            await opened.ledger.by_decision("t", "of-another-router")
        assert caught.value.reason == "LEDGER_DATABASE_UNAVAILABLE"
    finally:
        postgres.start()
    await until(lambda: opened.count("shipped") == 301)
    await until(lambda: opened.gauge("spool_bytes") == 0)
    assert opened.health == [True, False, True]
    assert len(stored(url, tmp_path)) == 301


async def test_a_full_spool_refuses_and_what_it_holds_is_shipped_later(
    open_ledger, postgres, tmp_path
):
    nowhere = "postgresql://nobody@127.0.0.1:9/nothing"
    opened = open_ledger(url=nowhere, spool_limit_bytes=500_000)
    sent = 0

    async def fill():
        nonlocal sent
        while True:
            await opened.append(make_record(sent))
            sent += 1

    with pytest.raises(Unavailable) as caught:
        await fill()
    assert caught.value.reason == "LEDGER_SPOOL_FULL"
    with pytest.raises(Unavailable):
        opened.ledger.check_room()
    opened.ledger.close(5.0)
    url = postgres.new_database(f"ledger_{uuid.uuid4().hex}")
    again = open_ledger(url=url)
    await until(lambda: again.count("shipped") == sent)
    assert len(stored(url, tmp_path)) == sent


async def test_what_a_dead_process_left_is_shipped_by_a_living_one(open_ledger, tmp_path):
    nowhere = "postgresql://nobody@127.0.0.1:9/nothing"
    living, other = open_ledger(url=nowhere), open_ledger(url=nowhere)
    await living.append(make_record("a"))
    await other.append(make_record("b"))
    living.ledger.close(5.0)
    again = open_ledger()  # SQLite; it has the first spool, and the second is still held
    await until(lambda: again.count("shipped") == 1)
    other.ledger.close(5.0)
    await until(lambda: again.count("shipped") == 2)
    assert stored("", tmp_path) == {"da", "db"}


async def test_a_record_that_the_database_refuses_is_set_aside(open_ledger, postgres, tmp_path):
    url = postgres.new_database(f"ledger_{uuid.uuid4().hex}")
    opened = open_ledger(url=url)
    bad = make_record("bad", flow="x" * 100)
    await opened.append(make_record(1), bad, make_record(2))
    await until(lambda: opened.count("set_aside") == 1)
    await until(lambda: stored(url, tmp_path) == {"d1", "d2"})
    (frame,) = frames_in((tmp_path / "set-aside.spool").read_bytes(), 0)
    assert frame.payload == bad
    assert opened.health == [True]


async def test_a_reply_may_wait_for_the_disk(open_ledger):
    opened = open_ledger(sync_before_reply=True)
    await asyncio.gather(*(opened.append(make_record(number)) for number in range(20)))
    syncs = opened.metrics.registry.get_sample_value("slmesh_ledger_sync_seconds_count")
    assert 1 <= syncs <= 20
    assert opened.count("spooled") == 20


async def test_a_record_is_synced_within_the_window(open_ledger):
    opened = open_ledger()
    await opened.append(make_record(1))
    started_s = time.monotonic()
    await until(
        lambda: opened.metrics.registry.get_sample_value("slmesh_ledger_sync_seconds_count") >= 1
    )
    spent_s = opened.metrics.registry.get_sample_value("slmesh_ledger_sync_seconds_sum")
    assert time.monotonic() - started_s - spent_s < 2  # 0.05 where the machine is not busy


async def test_the_ledger_is_told_of_subjects_that_were_deleted(open_ledger, tmp_path):
    opened = open_ledger()
    await opened.append(make_record(1, subject="ann"), make_record(2))
    await until(lambda: opened.count("shipped") == 2)
    database = Database(database_url("", tmp_path))
    digest = subject_digest("t", "ann")
    assert database.delete_subject(digest, time.time_ns() // 1000) == 1
    await until(lambda: opened.deleted == [digest])
    database.close()
    assert stored("", tmp_path) == {"d2"}
    assert await opened.ledger.by_decision("t", "d1") is None
    await until(lambda: not list(tmp_path.rglob("*.spool")))
    late = make_record(3, subject="ann", created_s=1.0)
    await opened.append(late)
    assert await opened.ledger.by_decision("t", "d3") is None


async def test_expired_records_are_deleted(open_ledger, tmp_path):
    opened = open_ledger()
    await opened.append(make_record(1, created_s=time.time() - 100, keep_s=1), make_record(2))
    await until(lambda: opened.count("expired") == 1)
    assert stored("", tmp_path) == {"d2"}


async def test_a_newer_schema_is_told_and_the_spool_keeps_the_records(open_ledger, tmp_path):
    database = Database(database_url("", tmp_path))
    database.prepare()
    database.close()
    engine = sa.create_engine(database_url("", tmp_path))
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE ledger_schema SET version_num = '9999'"))
    engine.dispose()
    opened = open_ledger()
    await opened.append(make_record(1))
    await until(lambda: opened.health == [False])
    assert await opened.ledger.by_decision("t", "d1") is not None


def test_a_folder_that_cannot_be_written_is_told_with_the_setting(tmp_path):
    (tmp_path / "spool").write_text("a file is in the way")
    with pytest.raises(FailedPrecondition, match="SLMESH_STATE_DIR") as caught:
        Opened(tmp_path)
    assert caught.value.reason == "LEDGER_FOLDER_UNUSABLE"
