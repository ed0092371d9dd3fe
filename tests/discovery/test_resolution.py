"""The order of instances, the narrowing of answers, and addresses."""

import pytest

from slmesh.discovery.resolution import Instance, Resolution, by_distance, parse_address
from slmesh.mesh.errors import InvalidArgument, Unavailable


def at(host: str, zone: str = "", region: str = "", cluster: str = "") -> Instance:
    metadata = {"cluster": cluster} if cluster else {}
    return Instance(
        service="intent", host=host, port=1, zone=zone, region=region, metadata=metadata
    )


def hosts(instances: tuple[Instance, ...]) -> list[str]:
    return [item.host for item in instances]


def resolution(*instances: Instance) -> Resolution:
    ordered = by_distance(instances, zone="a", region="eu")
    return Resolution(service="intent", instances=ordered, source="consul")


def test_the_same_zone_comes_before_the_same_region_before_the_rest() -> None:
    found = [at("far", "a", "us"), at("near", "b", "eu"), at("here", "a", "eu")]
    assert hosts(by_distance(found, zone="a", region="eu")) == ["here", "near", "far"]


def test_a_zone_of_the_same_name_in_another_region_is_not_near() -> None:
    ordered = by_distance([at("x", "a", "us")], zone="a", region="eu")
    assert ordered[0].distance == 2


def test_equally_near_instances_are_ordered_differently_by_different_salts() -> None:
    found = [at(f"host{number}") for number in range(8)]
    orders = {tuple(hosts(by_distance(found, zone="", region="", salt=str(s)))) for s in range(8)}
    assert len(orders) > 1


def test_the_order_does_not_depend_on_the_order_given() -> None:
    found = [at(f"host{number}") for number in range(8)]
    forwards = by_distance(found, zone="", region="", salt="s")
    assert forwards == by_distance(reversed(found), zone="", region="", salt="s")


def test_nearest_has_only_the_instances_of_the_least_distance() -> None:
    answer = resolution(at("here1", "a", "eu"), at("here2", "a", "eu"), at("near", "b", "eu"))
    assert sorted(hosts(answer.nearest)) == ["here1", "here2"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        pytest.param({"zone": "a"}, {"here", "far"}, id="zone"),
        pytest.param({"region": "eu"}, {"here", "near"}, id="region"),
        pytest.param({"zone": "a", "region": "us"}, {"far"}, id="zone-of-region"),
        pytest.param({"cluster": "c2"}, {"near"}, id="cluster"),
        pytest.param({}, {"here", "near", "far"}, id="anything"),
    ],
)
def test_an_answer_is_narrowed_by(wanted: dict[str, str], expected: set[str]) -> None:
    answer = resolution(
        at("here", "a", "eu", "c1"), at("near", "b", "eu", "c2"), at("far", "a", "us", "c3")
    )
    assert set(hosts(answer.within(**wanted).instances)) == expected


def test_narrowing_to_nothing_is_unavailable() -> None:
    with pytest.raises(Unavailable) as raised:
        resolution(at("here", "a", "eu")).within(region="mars")
    assert raised.value.reason == "NO_HEALTHY_INSTANCE"


@pytest.mark.parametrize(
    ("host", "target"),
    [
        pytest.param("10.0.0.1", "10.0.0.1:1", id="ipv4"),
        pytest.param("fd00::1", "[fd00::1]:1", id="ipv6"),
    ],
)
def test_a_target_is_written_as_grpc_takes_it(host: str, target: str) -> None:
    assert at(host).target == target


@pytest.mark.parametrize(
    ("text", "address"),
    [
        pytest.param("127.0.0.1:9000", ("127.0.0.1", 9000), id="ipv4"),
        pytest.param("router.example:1", ("router.example", 1), id="name"),
        pytest.param("[::1]:65535", ("::1", 65535), id="ipv6"),
    ],
)
def test_an_address_is_read(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("127.0.0.1", id="no-port"),
        pytest.param(":9000", id="no-host"),
        pytest.param("[]:9000", id="empty-brackets"),
        pytest.param("::1:9000", id="ipv6-without-brackets"),
        pytest.param("host:0", id="port-zero"),
        pytest.param("host:65536", id="port-too-large"),
        pytest.param("host:-1", id="negative-port"),
        pytest.param("host:٣", id="port-in-other-digits"),
        pytest.param("http://host:80", id="url"),
        pytest.param("user@host:80", id="user"),
        pytest.param("my host:80", id="blank"),
    ],
)
def test_a_wrong_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        parse_address(text)
    assert raised.value.reason == "INVALID_ADDRESS"
