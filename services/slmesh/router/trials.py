"""Runs the steps of a flow over labelled texts in this process, to see what thresholds would do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import uuid4

from slmesh.api.route.v1 import route_pb2
from slmesh.mesh.catalog import discover
from slmesh.mesh.context import RequestContext
from slmesh.mesh.errors import InvalidArgument
from slmesh.mesh.local import InProcessTransport
from slmesh.mesh.settings import Settings
from slmesh.policy import open_gate
from slmesh.router.assembly import make_engine
from slmesh.router.flow import Flow
from slmesh.router.request_run import Clock, scope_of
from slmesh.router.tuning import Trial

__all__ = ["MARKED_AS_TEST", "refuse_test_data", "run_trials"]

MARKED_AS_TEST = "test"


def refuse_test_data(names: Sequence[str], split: str) -> None:
    """Refuse to choose anything on data that is marked as test.

    Args:
        names: The files' names without their folders.
        split: The split that is asked for.

    Raises:
        InvalidArgument: It is test data by the split or by a file's name.
    """
    marked = [name for name in names if MARKED_AS_TEST in name.lower().replace("latest", "")]
    if split == MARKED_AS_TEST or marked:
        what = f"the file {marked[0]}" if marked else "the split"
        raise InvalidArgument(
            f"{what} is marked as test data: thresholds are chosen on validation data only",
            reason="TEST_DATA",
        )


async def run_trials(
    flow: Flow,
    rows: Sequence[tuple[str, str]],
    settings: Settings,
    advance: Callable[[int], object] = lambda count: None,
) -> list[Trial]:
    """Run the steps of a flow over texts, one after the other; the reasoner is not asked.

    Args:
        flow: The flow.
        rows: Texts with their right labels.
        settings: Where services and bundles are.
        advance: Called with the number of texts, whenever some are done.

    Raises:
        MeshError: A step failed, and the flow declares that the request fails then.
    """
    # every step is to be seen, and none of the reasoner's answers
    seen = replace(flow, reasoner=None, refuse_when=(), fallback=flow.fallback or "-")
    declared = {step.name: step.on_failure for step in flow.steps}
    tenant = RequestContext().tenant
    transport = InProcessTransport(settings)
    trials = []
    try:
        services = discover(settings)
        contracts = {name: manifest.contract for name, manifest in services.items()}
        gate = open_gate(settings, services, in_process=True)
        engine = make_engine(transport, settings, services, gate, Clock(), prepare=transport.host)
        for text, label in rows:
            request = route_pb2.RouteRequest(flow=flow.name, text=text)
            explained = await engine.run(
                seen, request, RequestContext(), decision_id=str(uuid4()), request_id=str(uuid4())
            )
            steps = explained.decision.steps
            received = explained.decision.create_time
            scope = scope_of(flow, contracts, request, tenant, received)
            scope.unwanted |= {
                one.name for one in steps if one.HasField("run_if") and not one.run_if
            }
            trials.append(
                Trial(
                    label,
                    {step.name: step.signal for step in steps if step.HasField("signal")},
                    {
                        step.name: declared[step.name]
                        for step in steps
                        if step.name in declared.keys() - scope.unwanted
                        and not step.HasField("signal")
                    },
                    engine.all_llm(flow, text).usd_micros,
                    scope,
                )
            )
            advance(1)
    finally:
        await transport.close()
    return trials
