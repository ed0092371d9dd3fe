"""Changed flows are served without a restart; a wrong one is not, and everybody can see it."""

from __future__ import annotations

import asyncio
import os

import pytest
from tests.router.mesh_services import write_desk

from slmesh.mesh.errors import FailedPrecondition, NotFound
from slmesh.mesh.metrics import Metrics
from slmesh.router.flow_book import FlowBook, load_flows
from slmesh.router.flow_watch import FlowWatch, kept_versions, roll_back


@pytest.fixture
def watched(mesh_settings, manifests):
    told: list[bool] = []
    metrics = Metrics()
    contracts = {name: manifest.contract for name, manifest in manifests.items()}
    book = FlowBook(load_flows(mesh_settings, manifests))
    watch = FlowWatch(mesh_settings, contracts, book, metrics, on_health=told.append, interval_s=60)
    return watch, book, told, metrics


def rewrite(settings, old: str, new: str) -> None:
    file = settings.flow_path[0] / "desk.yaml"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
    later_ns = file.stat().st_mtime_ns + 1_000_000_000  # also where the clock is coarse
    os.utime(file, ns=(later_ns, later_ns))


async def test_a_changed_flow_is_served(watched, mesh_settings):
    watch, book, told, metrics = watched
    await watch.start()
    before = book.flow("desk")
    rewrite(mesh_settings, "fallback: Later.", "fallback: Tomorrow.")
    await watch.look()
    await watch.close()
    assert book.flow("desk").fallback == "Tomorrow."
    assert before.fallback == "Later."  # a request under way keeps its rules
    assert told == [True, True]
    assert (
        metrics.registry.get_sample_value(
            "slmesh_flow_reloads_total", {"flow": "desk", "outcome": "served"}
        )
        == 1
    )


async def test_a_wrong_flow_is_refused_visibly_and_the_old_one_serves(
    watched, mesh_settings, caplog
):
    watch, book, told, metrics = watched
    await watch.start()
    rewrite(mesh_settings, "fallback: Later.", "fallbak: Later.")
    await watch.look()
    assert book.flow("desk").fallback == "Later."
    assert told[-1] is False
    stale = {"flow": "desk"}
    assert metrics.registry.get_sample_value("slmesh_flow_stale", stale) == 1
    assert "fallbak" in next(r.error for r in caplog.records if "wrong" in r.message)
    rewrite(mesh_settings, "fallbak: Later.", "fallback: Soon.")
    await watch.look()
    await watch.close()
    assert book.flow("desk").fallback == "Soon."
    assert told[-1] is True
    assert metrics.registry.get_sample_value("slmesh_flow_stale", stale) == 0


async def test_a_comment_is_no_new_version(watched, mesh_settings):
    watch, _, _, metrics = watched
    await watch.start()
    rewrite(mesh_settings, "fallback: Later.", "fallback: Later. # at last")
    await watch.look()
    await watch.close()
    labels = {"flow": "desk", "outcome": "served"}
    assert metrics.registry.get_sample_value("slmesh_flow_reloads_total", labels) is None


async def test_flows_come_and_go(watched, mesh_settings):
    watch, book, _, _ = watched
    await watch.start()
    file = mesh_settings.flow_path[0] / "desk.yaml"
    text = file.read_text(encoding="utf-8")
    (mesh_settings.flow_path[0] / "help.yaml").write_text(
        text.replace("name: desk", "name: help"), encoding="utf-8"
    )
    file.unlink()
    await watch.look()
    await watch.close()
    assert book.flow("help").name == "help"
    with pytest.raises(NotFound):
        book.flow("desk")


async def test_the_version_before_can_be_brought_back(watched, mesh_settings):
    watch, book, _, _ = watched
    await watch.start()
    with pytest.raises(NotFound, match="no version of flow 'desk' before"):
        roll_back(mesh_settings, "desk")
    rewrite(mesh_settings, "fallback: Later.", "fallback: Tomorrow.")
    await watch.look()
    assert len(kept_versions(mesh_settings, "desk")) == 2
    roll_back(mesh_settings, "desk")
    await watch.look()
    await watch.close()
    assert book.flow("desk").fallback == "Later."


async def test_a_running_router_drops_no_request_while_it_reloads(start_mesh):
    mesh = await start_mesh()
    answers: set[str] = set()

    async def ask() -> None:
        for _ in range(15):
            answers.add((await mesh.route("change my pin reasoner:down")).answer.text)
            await asyncio.sleep(0.1)

    async def change() -> None:
        await asyncio.sleep(0.3)
        rewrite(mesh.settings, "fallback: Later.", "fallback: Tomorrow.")

    await asyncio.gather(ask(), ask(), change())
    async with asyncio.timeout(20):
        while (await mesh.route("change my pin reasoner:down")).answer.text != "Tomorrow.":
            await asyncio.sleep(0.2)
    assert answers <= {"Later.", "Tomorrow."}


async def test_a_router_does_not_start_with_a_wrong_flow(start_mesh, mesh_settings):
    write_desk(mesh_settings.flow_path[0])
    wrong = mesh_settings.flow_path[0] / "wrong.yaml"
    wrong.write_text("name: wrong\n", encoding="utf-8")
    with pytest.raises(FailedPrecondition, match=r"wrong.yaml:1"):
        await start_mesh()


async def test_a_budget_below_what_services_took_lately_is_refused(
    mesh_settings, manifests, caplog
):
    write_desk(mesh_settings.flow_path[0], hurried=manifests)
    contracts = {name: manifest.contract for name, manifest in manifests.items()}
    book = FlowBook(load_flows(mesh_settings, manifests))
    taken = {"guard": 300.0, "intent": 900.0}
    watch = FlowWatch(
        mesh_settings, contracts, book, Metrics(), medians_ms=lambda: taken, interval_s=60
    )
    await watch.start()
    rewrite(mesh_settings, "latency_budget_ms: 60000", "latency_budget_ms: 1100")
    await watch.look()
    await watch.close()
    assert book.flow("desk").latency_budget_ms == 60_000
    wrong = next(r.error for r in caplog.records if "wrong" in r.message)
    assert "1100 ms are less than the 1200.0 ms" in wrong
