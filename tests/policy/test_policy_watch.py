"""A changed policy is taken while calls go on; a wrong one is not, and everybody can see it."""

from __future__ import annotations

import pytest
from tests.services import settings_for

from slmesh.mesh.context import RequestContext
from slmesh.mesh.errors import PermissionDenied
from slmesh.mesh.manifest import Manifest
from slmesh.mesh.metrics import Metrics
from slmesh.policy import open_gate
from slmesh.policy.policy_watch import PolicyWatch

SERVICES = {"near": Manifest(name="near", contract="classify", class_name="X")}
CALL = RequestContext(service="near", flow="support", data_classes=("personal",))
NO_SUPPORT = '@id("no-support") forbid (principal == Flow::"support", action, resource);'
NO_DIRECT = '@id("no-direct") forbid (principal is Direct, action, resource);'


class Process:
    """A process with a gate that looks when a test says so."""

    def __init__(self, settings):
        self.gate = open_gate(settings, SERVICES)
        self.metrics = Metrics()
        self.told = []
        self.watch = PolicyWatch(
            self.gate, settings, self.metrics, on_health=self.told.append, interval_s=60
        )

    async def look_twice(self):
        await self.watch.look()
        await self.watch.look()

    def metric(self, name, **labels):
        return self.metrics.registry.get_sample_value(f"slmesh_policy_{name}", labels)

    def arrived(self, call):
        return self.gate.arrival("near")(RequestContext.from_metadata(call.to_metadata()))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "policy").mkdir()
    return tmp_path / "policy"


@pytest.fixture
def processes(tmp_path, folder):
    """Return a sender and a receiver of one mesh, both on the same files."""
    settings = settings_for(tmp_path, policy_path=(folder,))
    return Process(settings), Process(settings)


async def test_a_changed_policy_is_taken_and_is_in_seals(processes, folder):
    sender, _ = processes
    await sender.look_twice()
    before = sender.gate.judge.revision
    (folder / "x.cedar").write_text(NO_DIRECT)
    await sender.look_twice()
    assert sender.gate.judge.revision != before
    assert sender.arrived(sender.gate.depart(CALL)).flow == "support"
    with pytest.raises(PermissionDenied):
        sender.gate.arrival("near")(RequestContext())
    assert sender.metric("reloads_total", outcome="taken") == 1
    assert sender.metric("stale") == 0
    (folder / "x.cedar").unlink()
    await sender.look_twice()
    assert sender.gate.judge.revision == before


@pytest.mark.parametrize(
    ("file", "text"),
    [
        pytest.param("x.cedar", "permit (", id="syntax"),
        pytest.param("tenants.yaml", "tenants:\n  - {nam: acme}\n", id="tenants"),
    ],
)
async def test_a_wrong_policy_is_refused_visibly_and_the_one_before_goes_on(
    processes, folder, file, text, caplog
):
    sender, _ = processes
    await sender.look_twice()
    before = sender.gate.judge
    (folder / file).write_text(text)
    await sender.look_twice()
    await sender.look_twice()
    assert sender.gate.judge is before
    assert sender.metric("reloads_total", outcome="refused") == 1
    assert sender.metric("stale") == 1
    assert sender.told[-1] is False
    (told,) = [record for record in caplog.records if "is wrong" in record.message]
    assert f"{folder / file}:" in told.error
    (folder / file).unlink()
    await sender.look_twice()
    assert (sender.told[-1], sender.metric("stale")) == (True, 0)


async def test_a_folder_that_is_gone_changes_nothing(processes, folder):
    sender, _ = processes
    (folder / "x.cedar").write_text(NO_DIRECT)
    await sender.look_twice()
    revision = sender.gate.judge.revision
    folder.rename(folder.with_name("elsewhere"))
    await sender.look_twice()
    assert sender.gate.judge.revision == revision
    assert sender.metric("stale") == 1


async def test_what_is_still_being_written_is_waited_for(processes, folder):
    sender, _ = processes
    await sender.look_twice()
    before = sender.gate.judge
    for size in (3, 2, 1):
        (folder / "x.cedar").write_text(NO_DIRECT + "\n" * size)
        await sender.watch.look()
        assert sender.gate.judge is before
    await sender.watch.look()
    assert sender.gate.judge is not before


async def test_a_seal_of_another_revision_counts_and_the_receivers_policy_decides(
    processes, folder
):
    sender, receiver = processes
    sealed = sender.gate.depart(CALL)
    (folder / "x.cedar").write_text(NO_DIRECT)
    await receiver.look_twice()
    assert receiver.gate.judge.revision != sender.gate.judge.revision
    assert receiver.arrived(sealed).flow == "support"
    await sender.look_twice()  # and the other way round: the sender is ahead
    (folder / "x.cedar").unlink()
    await receiver.look_twice()
    assert receiver.arrived(sender.gate.depart(CALL)).flow == "support"
    (folder / "y.cedar").write_text(NO_SUPPORT)
    await receiver.look_twice()
    with pytest.raises(PermissionDenied) as caught:
        receiver.arrived(sealed)
    assert caught.value.reason == "POLICY_DENIED"
