"""Budgets of several routers on one PostgreSQL: never overrun, and given back when a router dies."""

from __future__ import annotations

import asyncio
import uuid

import pytest
import sqlalchemy as sa

from slmesh.api.route.v1 import route_pb2 as pb
from slmesh.budgets.tables import RESERVATION, WINDOW
from slmesh.ledger.database import database_url
from slmesh.mesh.errors import MeshError, Unavailable


@pytest.fixture
def database(postgres, tmp_path):
    """Return an engine of an empty database, for a test to look into it."""
    url = postgres.new_database(f"budgets_{uuid.uuid4().hex}")
    engine = sa.create_engine(database_url(url, tmp_path))
    yield engine
    engine.dispose()


@pytest.fixture
def start(start_router, database, tmp_path):
    """Return a function that starts a router process on the database."""

    async def start_one(budgets):
        file = tmp_path / "budgets.yaml"
        file.write_text(budgets)
        url = url_of(database)
        return await start_router(SLMESH_LEDGER_URL=url, SLMESH_BUDGETS=str(file))

    return start_one


def url_of(database):
    return database.url.render_as_string(hide_password=False).replace("+psycopg", "")


def rows(database, table):
    with database.connect() as connection:
        return connection.execute(sa.select(table)).all()


async def settled(database):
    """Return the reservations once none is under way: answers are settled behind the reply."""
    async with asyncio.timeout(20):
        while True:
            found = rows(database, RESERVATION)
            if all(row.state != "active" for row in found):
                return found
            await asyncio.sleep(0.02)


def text():
    """Return a text that wants the reasoner and was not asked before, so that nothing is cached."""
    return f"something else {uuid.uuid4().hex}"


def outcomes(decisions):
    return [pb.BudgetOutcome.Name(one.budget.outcome)[15:] for one in decisions]


async def test_two_routers_never_overrun_a_tenants_budget(start, database):
    budgets = "tenants: {default: {requests: 20}}"
    routers = [await start(budgets), await start(budgets)]
    reasoner = routers[0].ingress.model("reasoner")
    decisions = await asyncio.gather(*(routers[number % 2].route(text()) for number in range(64)))
    granted = outcomes(decisions).count("GRANTED")
    for _ in range(64):  # what a breaker or a lock took away at first
        if granted == 20:
            break
        granted += outcomes([await routers[0].route(text())]).count("GRANTED")
    assert outcomes([await router.route(text()) for router in routers]) == [
        "EXHAUSTED", "EXHAUSTED",
    ]  # fmt: skip
    assert len(reasoner.requests) == granted == 20
    reservations = await settled(database)
    (window,) = rows(database, WINDOW)
    assert (window.requests, window.tokens, window.answers) == (20, 20 * 150, 20)
    assert window.reserved_tokens == 0
    assert {row.state for row in reservations} == {"settled"}


async def killed_while_it_asks(router, request_id):
    """Kill a router that waits for the reasoner's answer."""
    asking = asyncio.create_task(router.route(f"{text()} reasoner:hang", request_id=request_id))
    reasoner = router.ingress.model("reasoner")
    async with asyncio.timeout(30):
        while not reasoner.running:
            await asyncio.sleep(0.02)
    router.process.kill()
    with pytest.raises(MeshError) as caught:
        await asking
    assert isinstance(caught.value, Unavailable)
    await router.kill()


async def test_a_killed_routers_reservation_is_released_after_its_lease(start, database):
    budgets = "tenants: {default: {requests: 1}}"
    first, second = await start(budgets), await start(budgets)
    await killed_while_it_asks(first, str(uuid.uuid4()))
    (held,) = rows(database, RESERVATION)
    assert held.state == "active"
    assert outcomes([await second.route(text())]) == ["EXHAUSTED"]
    with database.begin() as connection:  # the lease is a minute and a half: let it be over
        connection.execute(sa.update(RESERVATION).values(expires_s=RESERVATION.c.expires_s - 100))
    await asyncio.sleep(1.1)  # a router looks for dead reservations once a second
    answered = await second.route(text())
    assert answered.path == pb.PATH_ESCALATED
    assert outcomes([await second.route(text())]) == ["EXHAUSTED"]
    states = {row.id: row.state for row in await settled(database)}
    (window,) = rows(database, WINDOW)
    assert (window.requests, window.tokens, window.reserved_tokens) == (1, 150, 0)
    assert states == {held.id: "released", f"default {answered.request_id}": "settled"}


async def test_a_repeat_of_what_a_killed_router_had_begun_spends_once(start, database):
    budgets = "tenants: {default: {requests: 1}}"
    first, second = await start(budgets), await start(budgets)
    request_id = str(uuid.uuid4())
    await killed_while_it_asks(first, request_id)
    answered = await second.route(text(), request_id=request_id)
    assert answered.path == pb.PATH_ESCALATED
    await settled(database)
    (window,) = rows(database, WINDOW)
    assert (window.requests, window.tokens, window.reserved_tokens) == (1, 150, 0)


async def test_a_request_that_was_given_up_while_it_waited_gives_its_budget_back(start, database):
    router = await start("tenants: {default: {requests: 1}}")
    assert outcomes([await router.route(text())]) == ["GRANTED"]
    await settled(database)
    with database.begin() as connection:
        connection.execute(sa.update(WINDOW).values(requests=0))
        # the row is locked: who reserves has to wait
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(router.route(text()), 1.5)
    async with asyncio.timeout(20):
        while {row.state for row in rows(database, RESERVATION)} != {"settled", "released"}:
            await asyncio.sleep(0.05)
    assert outcomes([await router.route(text())]) == ["GRANTED"]


async def test_a_router_that_has_stopped_holds_no_connection(
    start_mesh, database, tmp_path, postgres
):
    file = tmp_path / "budgets.yaml"
    file.write_text("tenants: {default: {requests: 5}}")
    url = url_of(database)
    mesh = await start_mesh(budgets=file, ledger_url=url)
    assert outcomes([await mesh.route(text(), timeout_s=30)]) == ["GRANTED"]
    await mesh.router.stop(0.5)
    database.dispose()
    other = sa.create_engine(database_url(postgres.url("postgres"), tmp_path))
    counted = "select count(*) from pg_stat_activity where datname = :name"
    async with asyncio.timeout(20):  # the server notices a closed connection a little later
        while True:
            with other.connect() as connection:
                name = {"name": database.url.database}
                if not connection.execute(sa.text(counted), name).scalar_one():
                    break
            await asyncio.sleep(0.1)
    other.dispose()
