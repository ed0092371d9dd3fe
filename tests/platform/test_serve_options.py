"""What Serve is told about a service."""

from pathlib import Path

import pytest

from slmesh.mesh.manifest import Manifest
from slmesh.mesh.settings import Settings
from slmesh.platform.ports import pick_serve_ports
from slmesh.platform.serve_flags import cluster_environment
from slmesh.platform.serve_options import route_prefix, serve_options


def manifest(**values):
    return Manifest(name="intent", contract="classify", class_name="Intent", **values)


def test_serve_admits_more_than_the_services_own_queue():
    options = serve_options(manifest(max_queue_items=10, max_batch_size=4))
    assert options["max_ongoing_requests"] > 10 + 4


def test_the_drain_is_longer_than_the_longest_request():
    assert serve_options(manifest(timeout_ms=90_000))["graceful_shutdown_timeout_s"] > 90


def test_an_update_of_a_single_replica_leaves_no_gap():
    assert serve_options(manifest())["max_surge_percent"] == 100


def test_every_service_has_a_prefix_of_its_own():
    assert route_prefix("intent") != route_prefix("entities")


@pytest.fixture
def flags():
    return cluster_environment(Settings(), pick_serve_ports(), Path("/s"), haproxy=True)


def test_the_throughput_bundle_is_never_set(flags):
    assert "RAY_SERVE_THROUGHPUT_OPTIMIZED" not in flags


def test_every_path_of_haproxy_is_in_the_meshs_own_folder(flags):
    paths = [value for name, value in flags.items() if name.endswith(("_PATH", "_LOC", "_FILE"))]
    assert len(paths) == 4
    assert all(path.startswith("/s/") for path in paths)


def test_two_clusters_have_different_tokens():
    ports = pick_serve_ports()
    one, other = (
        cluster_environment(Settings(), ports, Path("/s"), haproxy=True)["RAY_AUTH_TOKEN"]
        for _ in range(2)
    )
    assert one != other


def test_without_haproxy_serves_own_proxy_serves():
    found = cluster_environment(Settings(), pick_serve_ports(), Path("/s"), haproxy=False)
    assert found["RAY_SERVE_ENABLE_HA_PROXY"] == "0"


def test_a_service_with_more_threads_has_an_environment_of_its_own(flags):
    actor = serve_options(manifest(threads=3))["ray_actor_options"]
    wanted = actor["runtime_env"]["env_vars"]
    assert set(wanted.values()) == {"3"}
    # all others share the environment of all, which lets them start in a process that waits
    assert "runtime_env" not in serve_options(manifest())["ray_actor_options"]
    assert {flags[name] for name in wanted} == {"1"}
