"""Decisions survive the router: kills, restarts, full disks and a database that is away."""

from __future__ import annotations

import asyncio
import json
import resource
import uuid

import pytest

from slmesh.api.ledger.v1 import record_pb2
from slmesh.api.route.v1 import route_pb2
from slmesh.ledger.database import Database, Filter, database_url
from slmesh.ledger.ledger import ledger_folder
from slmesh.ledger.rows import read_record, subject_digest
from slmesh.mesh.context import RequestContext
from slmesh.mesh.errors import FailedPrecondition, MeshError, NotFound, Unavailable

MAIL = "arrive, I am ann@x.org"
NOWHERE = "postgresql://nobody@127.0.0.1:9/nothing"


def open_database(settings, url=""):
    return Database(database_url(url, ledger_folder(settings)))


async def until(condition, timeout_s=30.0):
    async with asyncio.timeout(timeout_s):
        while not await condition():
            await asyncio.sleep(0.1)


def stored_count(settings, wanted, url=""):
    async def condition():
        database = open_database(settings, url)
        try:
            database.prepare()
            return database.count(Filter()) == wanted
        finally:
            database.close()

    return condition


async def test_decisions_and_repeats_survive_the_router(start_router, mesh_settings):
    name = str(uuid.uuid4())
    first = await start_router()
    decision = await first.route(MAIL, request_id=name)
    unsure = await first.route("unsure of bob@y.org", request_id=str(uuid.uuid4()))
    await first.stop()
    second = await start_router()
    again = await second.route(MAIL, request_id=name)
    assert again.decision_id == decision.decision_id
    assert again.answer == decision.answer
    assert not [call for call in second.ingress.seen if "slmesh-decision-id" not in call]
    calls = len(second.ingress.seen)
    repeated = await second.route("unsure of bob@y.org", request_id=unsure.request_id)
    assert repeated.answer.text == unsure.answer.text
    assert "bob@y.org" in repeated.answer.text
    assert len(second.ingress.seen) == calls
    explained = await second.explain(unsure.decision_id)
    assert explained.decision.reasons == unsure.reasons
    assert {c.code for c in explained.conditions} >= {"INTENT_UNCERTAIN"}
    assert b"bob" not in explained.SerializeToString()
    with pytest.raises(MeshError) as caught:
        await second.route("another text", request_id=name)
    assert caught.value.reason == "REQUEST_ID_REUSED"


async def test_a_decision_is_not_found_for_another_tenant_after_a_restart(start_router):
    first = await start_router()
    decision = await first.route("arrive")
    await first.stop()
    second = await start_router()
    request = route_pb2.ExplainRequest(decision_id=decision.decision_id)
    assert await second.client.explain(request)
    with pytest.raises(NotFound):
        await second.client.explain(request, context=RequestContext(tenant="acme"))


async def test_a_killed_router_has_a_record_of_every_answer(start_router, mesh_settings):
    answered = set()

    async def load(router):
        while True:
            try:
                answered.add((await router.route("arrive")).decision_id)
            except MeshError:
                return

    for round_number in range(3):
        router = await start_router()
        wanted = len(answered) + 10 + 5 * round_number
        tasks = [asyncio.create_task(load(router)) for _ in range(8)]
        async with asyncio.timeout(60):
            while len(answered) < wanted:
                await asyncio.sleep(0.001)
        router.process.kill()
        await asyncio.gather(*tasks)  # each meets the dead router before its client is closed
        await router.kill()
    last = await start_router()
    for decision_id in sorted(answered)[::10]:
        assert (await last.explain(decision_id)).decision.decision_id == decision_id

    async def all_shipped():
        database = open_database(mesh_settings)
        try:
            database.prepare()
            return answered <= {row["decision_id"] for row in database.rows(Filter())}
        finally:
            database.close()

    await until(all_shipped)


@pytest.mark.parametrize(
    ("kept", "text"),
    [("none", ""), ("redacted", "arrive, I am [EMAIL_1]"), ("full", MAIL)],
)
async def test_a_record_holds_what_the_settings_say(start_router, mesh_settings, kept, text):
    router = await start_router(SLMESH_LEDGER_TEXT=kept)
    await router.route(MAIL)
    await router.stop()
    database = open_database(mesh_settings)
    (payload,) = database.records(Filter())
    database.close()
    record = read_record(payload)
    assert record.request.text == text
    assert record_pb2.TextKept.Name(record.text_kept) == f"TEXT_KEPT_{kept.upper()}"
    assert (b"ann@x.org" in payload) is (kept == "full")


async def test_a_tenant_may_have_a_rule_of_its_own(start_router, mesh_settings, tmp_path):
    file = tmp_path / "tenants.yaml"
    file.write_text("tenants:\n  acme: {text: none, retention_days: 3}\n")
    router = await start_router(SLMESH_LEDGER_TENANTS=str(file))
    await router.route(MAIL, context=RequestContext(tenant="acme"))
    await router.route(MAIL)
    await router.stop()
    database = open_database(mesh_settings)
    found = {row["tenant"]: row for row in database.rows(Filter())}
    database.close()
    assert found["acme"]["text_kept"] == "none"
    assert found["default"]["text_kept"] == "redacted"
    days = {
        tenant: round((row["expire_time_us"] - row["record_time_us"]) / 86_400e6)
        for tenant, row in found.items()
    }
    assert days == {"acme": 3, "default": 30}


async def test_a_subject_is_forgotten_where_it_was_recorded(start_router, mesh_settings):
    router = await start_router()
    context = RequestContext(subject="customer-7")
    about = await router.route("arrive", context=context)
    other = await router.route("arrive")
    assert all("slmesh-subject" not in call for call in router.ingress.seen)
    await until(stored_count(mesh_settings, 2))
    database = open_database(mesh_settings)
    digest = subject_digest("default", "customer-7")
    assert database.delete_subject(digest, 2**62) == 1
    database.close()

    async def forgotten():
        try:
            await router.explain(about.decision_id)
        except NotFound:
            return True
        return False

    await until(forgotten)
    assert await router.explain(other.decision_id)


def small_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))


async def test_a_full_disk_is_told_and_a_flow_may_allow_it(start_router, mesh_settings):
    folder = mesh_settings.flow_path[0]
    text = (folder / "desk.yaml").read_text()
    lax = text.replace("name: desk", "name: lax", 1) + "unrecorded: allow\n"
    (folder / "lax.yaml").write_text(lax)
    # no file may grow over 60 kB: the spool's and the database's, as on a full disk
    router = await start_router(small_files, SLMESH_LEDGER_URL=NOWHERE)
    answered = []

    async def fill():
        for _ in range(200):
            answered.append((await router.route("arrive")).decision_id)

    with pytest.raises(Unavailable) as caught:
        await fill()
    assert caught.value.reason == "LEDGER_DISK_FULL"
    assert caught.value.retry_delay_s
    assert len(answered) > 5
    calls = len(router.ingress.seen)
    with pytest.raises(Unavailable):
        await router.route("arrive")
    assert len(router.ingress.seen) == calls  # nothing is spent on what cannot be recorded
    allowed = await router.route("arrive", flow="lax")
    assert [one.code for one in allowed.degradations] == ["NOT_RECORDED"]
    assert allowed.answer.text
    assert 'slmesh_ledger_records_total{state="unrecorded"}' in await router.metrics()
    await router.kill()
    again = await start_router()
    await again.stop()
    database = open_database(mesh_settings)
    recorded = {row["decision_id"] for row in database.rows(Filter())}
    database.close()
    assert recorded == set(answered)


def limit_files(router, size_bytes):
    """Let no file of a router grow over a size, as on a full disk."""
    limits = (size_bytes, resource.RLIM_INFINITY)
    resource.prlimit(router.process.pid, resource.RLIMIT_FSIZE, limits)


async def test_a_full_disk_is_told_before_anything_of_a_stream(start_router):
    router = await start_router(SLMESH_LEDGER_URL=NOWHERE)

    async def stream(told):
        text = f"unsure about {uuid.uuid4().hex}"  # nothing of a cache
        request = route_pb2.RouteRequest(flow="desk", text=text)
        async for event in router.client.route_stream(request, timeout_s=30):
            told.append(event.WhichOneof("event"))

    await stream(whole := [])
    assert whole[-1] == "decision"
    limit_files(router, 1000)
    calls = len(router.ingress.seen)
    told = []
    with pytest.raises(Unavailable) as caught:
        await stream(told)
    assert caught.value.reason == "LEDGER_DISK_FULL"
    assert told == []
    assert len(router.ingress.seen) == calls
    limit_files(router, resource.RLIM_INFINITY)
    await stream(again := [])
    assert again == whole


async def test_a_disk_that_stays_full_is_told_before_anything_is_spent(start_router):
    router = await start_router(SLMESH_LEDGER_URL=NOWHERE)
    limit_files(router, 1000)
    with pytest.raises(Unavailable):
        await router.route("arrive")
    calls = len(router.ingress.seen)
    await asyncio.sleep(1.1)  # after so long a request may try again
    with pytest.raises(Unavailable) as caught:
        await router.route("arrive")
    assert caught.value.reason == "LEDGER_DISK_FULL"
    assert len(router.ingress.seen) == calls


async def test_what_a_router_leaves_in_its_spool_is_told(start_router):
    router = await start_router(SLMESH_LEDGER_URL=NOWHERE)
    await router.route("arrive")
    await router.stop()
    events = [json.loads(line) for line in router.errors.splitlines()]
    (left,) = [event for event in events if "was not shipped whole" in event["event"]]
    assert left["bytes"] > 500
    assert router.process.returncode == 0


async def test_a_database_that_is_away_is_told_and_caught_up_with(
    start_router, mesh_settings, postgres
):
    url = postgres.new_database(f"ledger_{uuid.uuid4().hex}")
    router = await start_router(SLMESH_LEDGER_URL=url)
    await router.route("arrive")

    async def is_serving():
        return await router.ledger_health() == "SERVING"

    async def is_not_serving():
        return await router.ledger_health() == "NOT_SERVING"

    await until(is_serving)
    postgres.stop()
    try:
        for _ in range(20):
            assert (await router.route("arrive")).answer.text
        await until(is_not_serving)
        assert "slmesh_ledger_database_up 0.0" in await router.metrics()
    finally:
        postgres.start()
    await until(stored_count(mesh_settings, 21, url))
    await until(is_serving)
    await router.stop()
    events = [json.loads(line) for line in router.errors.splitlines()]
    told = [event["event"] for event in events if event["logger"].startswith("slmesh.ledger")]
    assert any("takes no records" in event for event in told)
    assert any("is back" in event for event in told)
    assert b"Traceback" not in router.errors


async def test_a_router_without_a_ledger_keeps_decisions_in_memory(start_router, mesh_settings):
    router = await start_router(SLMESH_LEDGER_URL="none")
    decision = await router.route("arrive")
    assert await router.explain(decision.decision_id)
    await router.stop()
    assert not list(ledger_folder(mesh_settings).glob("*"))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SLMESH_LEDGER_TEXT", "redactd", "did you mean redacted"),
        ("SLMESH_LEDGER_RETENTION_DAYS", "0", "must be from 1"),
        ("SLMESH_LEDGER_URL", "mysql://x", "SLMESH_LEDGER_URL must be"),
    ],
)
async def test_a_wrong_setting_is_told_at_the_start(mesh_settings, name, value, message):
    from slmesh.mesh.metrics import Metrics
    from slmesh.mesh.settings import load_settings
    from slmesh.router.ledger_decisions import LedgerDecisions
    from slmesh.router.request_run import Clock

    settings = load_settings(mesh_settings.to_environment() | {name: value})
    with pytest.raises(FailedPrecondition) as caught:
        LedgerDecisions(settings, Clock(), Metrics())
    assert message in caught.value.message.replace("'", "")
