"""Discovery from fixed addresses."""

import pytest

from slmesh.discovery import Discovery, StaticDiscovery
from slmesh.mesh.errors import InvalidArgument, NotFound, Unavailable

INGRESS = "127.0.0.1:9000"


def targets(discovery: Discovery, service: str) -> list[str]:
    return [item.target for item in discovery.resolve(service).instances]


def test_addresses_are_answered_in_the_order_given() -> None:
    discovery = StaticDiscovery({"intent": ["b:2", "a:1"]})
    assert targets(discovery, "intent") == ["b:2", "a:1"]


def test_every_other_service_answers_at_the_default_address() -> None:
    discovery = StaticDiscovery({"intent": ["a:1"]}, default_address=INGRESS)
    assert targets(discovery, "triage") == [INGRESS]


def test_an_instance_names_its_application_and_place() -> None:
    discovery = StaticDiscovery(default_address=INGRESS, zone="a", region="eu")
    instance = discovery.resolve("intent").instances[0]
    assert (instance.metadata["application"], instance.zone, instance.region) == (
        "intent",
        "a",
        "eu",
    )


def test_a_fixed_answer_is_never_old() -> None:
    answer = StaticDiscovery({"intent": ["a:1"]}).resolve("intent")
    assert (answer.age_s, answer.stale, answer.source) == (0.0, False, "static")


@pytest.mark.parametrize(
    "discovery",
    [
        pytest.param(StaticDiscovery({"intent": ["a:1"]}), id="no-default"),
        pytest.param(StaticDiscovery(default_address=INGRESS, known=["intent"]), id="known-names"),
    ],
)
def test_an_unknown_service_is_not_found_and_the_nearest_name_told(
    discovery: StaticDiscovery,
) -> None:
    with pytest.raises(NotFound, match="did you mean 'intent'") as raised:
        discovery.resolve("inten")
    assert raised.value.reason == "SERVICE_NOT_FOUND"


def test_a_service_without_addresses_is_unavailable() -> None:
    with pytest.raises(Unavailable) as raised:
        StaticDiscovery({"intent": []}, default_address=INGRESS).resolve("intent")
    assert raised.value.reason == "NO_HEALTHY_INSTANCE"


def test_services_are_all_names_given() -> None:
    discovery = StaticDiscovery({"b": ["a:1"]}, default_address=INGRESS, known=["a"])
    assert discovery.services() == ("a", "b")


def test_a_new_mapping_replaces_the_old_one() -> None:
    discovery = StaticDiscovery({"intent": ["a:1"], "triage": ["a:1"]})
    discovery.replace({"intent": ["b:2"]})
    assert targets(discovery, "intent") == ["b:2"]
    assert discovery.services() == ("intent",)


def test_a_wrong_new_mapping_leaves_the_old_one() -> None:
    discovery = StaticDiscovery({"intent": ["a:1"]})
    with pytest.raises(InvalidArgument):
        discovery.replace({"intent": ["b:2"], "triage": ["nowhere"]})
    assert targets(discovery, "intent") == ["a:1"]


async def test_it_starts_and_closes_with_nothing_to_do() -> None:
    discovery = StaticDiscovery({"intent": ["a:1"]})
    await discovery.start()
    await discovery.close()
    assert targets(discovery, "intent") == ["a:1"]
