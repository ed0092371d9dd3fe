"""What Ray Serve is told: valid for the installed Ray, and safe in its traps."""

import dataclasses
import importlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from slmesh.deploy import DeployOptions, render
from slmesh.deploy.ray_service import RAY_VERSION, SERVE_FLAGS
from slmesh.deploy.serve_config import (
    APPLICATIONS,
    SERVICERS,
    grpc_options,
)
from slmesh.mesh.manifest import Manifest
from slmesh.mesh.settings import Settings
from slmesh.platform.serve_options import serve_options

OPTIONS = DeployOptions(image="slmesh:test")


def serve_config_of(manifests: list[Manifest]) -> dict[str, Any]:
    """Return the Serve configuration as the operator sends it."""
    objects = render(manifests, OPTIONS)
    service = next(item for item in objects if item["kind"] == "RayService")
    config: dict[str, Any] = yaml.safe_load(service["spec"]["serveConfigV2"])
    return config


# Ray declares its own models in a way that pydantic deprecates.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_installed_serve_accepts_the_configuration(manifests: list[Manifest]) -> None:
    from ray.serve.schema import ServeDeploySchema

    accepted = ServeDeploySchema.model_validate(serve_config_of(manifests))
    assert [app.name for app in accepted.applications] == ["guard", "intent", "reasoner"]


def test_every_manifest_is_one_application_of_its_own(manifests: list[Manifest]) -> None:
    applications = serve_config_of(manifests)["applications"]
    assert {app["name"] for app in applications} == {m.name for m in manifests}
    assert {app["args"]["service"] for app in applications} == {m.name for m in manifests}
    assert all(len(app["deployments"]) == 1 for app in applications)


def test_every_application_has_a_route_prefix_of_its_own(manifests: list[Manifest]) -> None:
    # Serve hides an application without one from gRPC.
    prefixes = [app["route_prefix"] for app in serve_config_of(manifests)["applications"]]
    assert None not in prefixes
    assert len(set(prefixes)) == len(prefixes)


def test_a_full_queue_is_answered_by_the_service_and_not_by_serve(
    manifests: list[Manifest],
) -> None:
    for manifest in manifests:
        limit = serve_options(manifest)["max_ongoing_requests"]
        assert limit > manifest.max_queue_items + manifest.max_batch_size


def test_serve_waits_for_the_longest_request_before_it_stops_a_replica(
    manifests: list[Manifest],
) -> None:
    for manifest in manifests:
        drain_s = serve_options(manifest)["graceful_shutdown_timeout_s"]
        assert drain_s * 1000 > manifest.timeout_ms


def test_the_backstop_is_longer_than_every_timeout(manifests: list[Manifest]) -> None:
    slow = dataclasses.replace(manifests[0], timeout_ms=300_000)
    for services in (manifests, [slow]):
        longest_ms = max(manifest.timeout_ms for manifest in services)
        assert grpc_options(services)["request_timeout_s"] * 1000 > longest_ms


def test_an_update_starts_the_new_replica_before_it_stops_the_old(
    manifests: list[Manifest],
) -> None:
    assert all(serve_options(m)["max_surge_percent"] == 100 for m in manifests)


def test_one_more_service_does_not_change_what_serve_freezes(manifests: list[Manifest]) -> None:
    more = [*manifests, dataclasses.replace(manifests[0], name="topics")]
    assert serve_config_of(more)["grpc_options"] == serve_config_of(manifests)["grpc_options"]


def test_the_cluster_is_told_the_version_of_ray_it_is_tested_with() -> None:
    assert version("ray") == RAY_VERSION


def test_a_cluster_has_the_flags_that_were_measured_on_the_local_mesh(tmp_path: Path) -> None:
    from slmesh.platform.ports import ServePorts
    from slmesh.platform.serve_flags import cluster_environment

    ports = ServePorts(**{field.name: 1 for field in dataclasses.fields(ServePorts)})
    local = cluster_environment(Settings(), ports, tmp_path, haproxy=True)
    shared = SERVE_FLAGS.keys() & local.keys()
    assert {name: SERVE_FLAGS[name] for name in shared} == {name: local[name] for name in shared}
    assert shared >= {"RAY_SERVE_ENABLE_HA_PROXY", "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD"}


def test_the_configuration_names_what_can_be_imported() -> None:
    assert callable(import_string(APPLICATIONS.replace(":", ".")))
    assert callable(import_string(SERVICERS))


def import_string(name: str) -> Any:
    """Import what a dotted name stands for, as Serve does."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)
