"""Ports: what is taken is named, what is picked is free and apart."""

import random
import socket

import pytest

from slmesh.mesh.errors import FailedPrecondition
from slmesh.platform.ports import is_free, pick_serve_ports, require_free


@pytest.fixture
def taken():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_taken_port_is_not_free(taken):
    assert not is_free("127.0.0.1", taken)


def test_a_taken_port_is_named_with_the_setting_that_changes_it(taken):
    with pytest.raises(FailedPrecondition, match=f"port {taken} .*SLMESH_ROUTER_PORT") as caught:
        require_free("127.0.0.1", taken, "SLMESH_ROUTER_PORT")
    assert caught.value.metadata == {"port": str(taken), "setting": "SLMESH_ROUTER_PORT"}


def test_picked_ports_are_free_and_all_different():
    ports = pick_serve_ports()
    fixed = [
        ports.http, ports.fallback_http, ports.fallback_grpc, ports.haproxy_metrics,
        ports.haproxy_stats,
    ]  # fmt: skip
    ranges = [
        *range(ports.replica_http, ports.replica_http + ports.replica_ports),
        *range(ports.replica_grpc, ports.replica_grpc + ports.replica_ports),
    ]
    assert all(is_free("", port) for port in fixed)
    assert len({*fixed, *ranges}) == 205


def test_a_block_with_a_taken_port_is_passed_over():
    first = pick_serve_ports(random.Random(7))
    with socket.socket() as listener:
        listener.bind(("", first.haproxy_stats))
        listener.listen()
        second = pick_serve_ports(random.Random(7))
    assert second.replica_http != first.replica_http


def test_picked_ports_lie_below_those_that_clients_get():
    ports = pick_serve_ports()
    assert ports.replica_http >= 20_000
    assert ports.haproxy_stats < 32_768
