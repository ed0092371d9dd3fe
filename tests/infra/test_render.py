"""A deployment follows from its manifests, and gives no pod more than it needs."""

import dataclasses
from typing import Any

import pytest
import yaml

from slmesh.deploy import DeployOptions, render, to_yaml
from slmesh.deploy.settings_map import settings_of
from slmesh.mesh.errors import FailedPrecondition, InvalidArgument
from slmesh.mesh.manifest import Manifest
from slmesh.mesh.settings import load_settings

OPTIONS = DeployOptions(image="slmesh:test")
SECRETS = dataclasses.replace(
    OPTIONS,
    tls_secret="router-tls",
    consul_address="consul.consul.svc:8500",
    consul_secret="consul-acl",
    reasoner_base_url="https://models.example/v1",
    reasoner_secret="models-key",
)
MIB = 1024 * 1024
Object = dict[str, Any]


def one(objects: list[Object], kind: str, name: str = "slmesh") -> Object:
    """Return the object of a kind and a name."""
    return next(o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name)


def cluster_of(objects: list[Object]) -> Object:
    """Return the Ray cluster of a deployment."""
    cluster: Object = one(objects, "RayService")["spec"]["rayClusterConfig"]
    return cluster


def ray_templates(objects: list[Object]) -> list[Object]:
    """Return the pod templates of the Ray cluster, the head's first."""
    cluster = cluster_of(objects)
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [group["template"] for group in groups]


def pod_specs(objects: list[Object]) -> list[Object]:
    """Return every pod of a deployment."""
    router = one(objects, "StatefulSet", "slmesh-router")["spec"]["template"]
    return [template["spec"] for template in [router, *ray_templates(objects)]]


def without_ray_service(objects: list[Object]) -> list[Object]:
    """Return all objects but the RayService."""
    return [item for item in objects if item["kind"] != "RayService"]


def test_the_order_of_the_manifests_does_not_matter(manifests: list[Manifest]) -> None:
    assert to_yaml(render(manifests, OPTIONS)) == to_yaml(render(manifests[::-1], OPTIONS))


def test_the_yaml_says_what_the_objects_say(manifests: list[Manifest]) -> None:
    objects = render(manifests, SECRETS)
    assert list(yaml.safe_load_all(to_yaml(objects))) == objects


def test_one_more_service_changes_the_ray_service_only(manifests: list[Manifest]) -> None:
    more = [*manifests, dataclasses.replace(manifests[0], name="topics")]
    before, after = render(manifests, OPTIONS), render(more, OPTIONS)
    assert without_ray_service(before) == without_ray_service(after)
    assert "/topics" in one(after, "RayService")["spec"]["serveConfigV2"]


def test_every_object_is_in_the_namespace(manifests: list[Manifest]) -> None:
    objects = render(manifests, dataclasses.replace(OPTIONS, namespace="bank"))
    assert {item["metadata"]["namespace"] for item in objects} == {"bank"}
    settings = one(objects, "ConfigMap", "slmesh-settings-router")["data"]
    assert "slmesh-models.bank.svc:9000" in settings.values()


def test_the_reasoner_cannot_take_memory_from_the_small_models(manifests: list[Manifest]) -> None:
    groups = cluster_of(render(manifests, OPTIONS))["workerGroupSpecs"]
    assert {group["groupName"] for group in groups} == {"small", "reasoner"}
    assert all(group["labels"] == {"risk": group["groupName"]} for group in groups)


def test_the_operator_would_accept_the_start_parameters(manifests: list[Manifest]) -> None:
    cluster = cluster_of(render(manifests, OPTIONS))
    for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]:
        assert "labels" not in group["rayStartParams"]
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())


def test_no_replica_runs_on_the_head(manifests: list[Manifest]) -> None:
    objects = render(manifests, OPTIONS)
    assert cluster_of(objects)["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert one(objects, "RayService")["spec"]["excludeHeadPodFromServeSvc"] is True


def test_a_worker_group_has_room_for_every_replica_and_its_successor(
    manifests: list[Manifest],
) -> None:
    groups = cluster_of(render(manifests, OPTIONS))["workerGroupSpecs"]
    for group in groups:
        members = [
            m for m in manifests if (m.contract == "reason") == (group["groupName"] != "small")
        ]
        needed_mib = 2 * sum(m.memory_mib * m.replicas for m in members)
        needed_cpus = 2 * sum(m.cpus * m.replicas for m in members)
        start = group["rayStartParams"]
        limit = group["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"]
        assert group["replicas"] * int(start["num-cpus"]) >= needed_cpus
        assert group["replicas"] * int(start["memory"]) >= needed_mib * MIB
        assert int(limit.removesuffix("Mi")) * MIB > int(start["memory"])


def test_every_ray_container_has_the_flags_of_the_data_path(manifests: list[Manifest]) -> None:
    for template in ray_templates(render(manifests, OPTIONS)):
        variables = {v["name"]: v.get("value") for v in template["spec"]["containers"][0]["env"]}
        assert variables["RAY_SERVE_ENABLE_HA_PROXY"] == "1"
        assert variables["RAY_USAGE_STATS_ENABLED"] == "0"
        assert "RAY_SERVE_THROUGHPUT_OPTIMIZED" not in variables


def test_every_ray_container_names_the_grpc_port_as_the_operator_expects(
    manifests: list[Manifest],
) -> None:
    for template in ray_templates(render(manifests, OPTIONS)):
        ports = {p["name"]: p["containerPort"] for p in template["spec"]["containers"][0]["ports"]}
        assert ports["serve-grpc"] == 9000
        assert ports["serve"] == 8000


def test_a_changed_service_is_updated_in_place(manifests: list[Manifest]) -> None:
    changed = [dataclasses.replace(manifests[0], max_batch_size=8), *manifests[1:]]
    before, after = render(manifests, OPTIONS), render(changed, OPTIONS)
    assert cluster_of(before) == cluster_of(after)
    assert one(before, "RayService") != one(after, "RayService")


def test_changed_settings_make_new_pods(manifests: list[Manifest]) -> None:
    before = render(manifests, OPTIONS)
    after = render(manifests, dataclasses.replace(OPTIONS, region="eu-west-1"))
    for old, new in zip(ray_templates(before), ray_templates(after), strict=True):
        assert old["metadata"]["annotations"] != new["metadata"]["annotations"]
    router = [one(o, "StatefulSet", "slmesh-router")["spec"]["template"] for o in (before, after)]
    assert router[0]["metadata"]["annotations"] != router[1]["metadata"]["annotations"]


def test_no_pod_has_rights_it_does_not_need(manifests: list[Manifest]) -> None:
    for spec in pod_specs(render(manifests, SECRETS)):
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        for container in spec["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}


def test_every_container_has_limits_and_probes(manifests: list[Manifest]) -> None:
    for spec in pod_specs(render(manifests, OPTIONS)):
        for container in spec["containers"]:
            assert container["resources"]["limits"].keys() == {"cpu", "memory"}
            assert {"livenessProbe", "readinessProbe"} <= container.keys()


def test_every_mount_has_its_volume(manifests: list[Manifest]) -> None:
    objects = render(manifests, SECRETS)
    claims = one(objects, "StatefulSet", "slmesh-router")["spec"]["volumeClaimTemplates"]
    claimed = {claim["metadata"]["name"] for claim in claims}
    for index, spec in enumerate(pod_specs(objects)):
        mounts = {m["name"] for c in spec["containers"] for m in c["volumeMounts"]}
        volumes = {volume["name"] for volume in spec["volumes"]}
        assert mounts == volumes | (claimed if index == 0 else set())


def test_the_router_is_probed_by_the_health_service(manifests: list[Manifest]) -> None:
    container = pod_specs(render(manifests, OPTIONS))[0]["containers"][0]
    assert container["readinessProbe"]["grpc"] == {"port": 50051}


def test_a_router_with_tls_is_probed_without_grpc(manifests: list[Manifest]) -> None:
    # A kubelet cannot check gRPC over TLS.
    container = pod_specs(render(manifests, SECRETS))[0]["containers"][0]
    assert "grpc" not in container["readinessProbe"]
    assert container["readinessProbe"]["tcpSocket"] == {"port": "grpc"}


@pytest.mark.parametrize("options", [OPTIONS, SECRETS], ids=["plain", "secrets"])
@pytest.mark.parametrize("component", ["router", "models"])
def test_every_rendered_setting_is_one_the_mesh_reads(
    manifests: list[Manifest], options: DeployOptions, component: str
) -> None:
    data = one(render(manifests, options), "ConfigMap", f"slmesh-settings-{component}")["data"]
    load_settings(data)


def test_a_config_map_holds_no_secret(manifests: list[Manifest]) -> None:
    for item in render(manifests, SECRETS):
        if item["kind"] == "ConfigMap":
            assert not {"SLMESH_CONSUL_TOKEN", "SLMESH_REASONER_API_KEY"} & item["data"].keys()


def test_every_reference_to_a_config_map_has_its_target(manifests: list[Manifest]) -> None:
    objects = render(manifests, OPTIONS)
    maps = {item["metadata"]["name"] for item in objects if item["kind"] == "ConfigMap"}
    for spec in pod_specs(objects):
        for source in spec["containers"][0]["envFrom"]:
            assert source["configMapRef"]["name"] in maps


def test_every_component_has_a_network_policy_both_ways(manifests: list[Manifest]) -> None:
    objects = render(manifests, OPTIONS)
    policies = [item["spec"] for item in objects if item["kind"] == "NetworkPolicy"]
    covered = [policy["podSelector"]["matchLabels"] for policy in policies]
    router = one(objects, "StatefulSet", "slmesh-router")["spec"]["template"]
    for template in [router, *ray_templates(objects)]:
        assert template["metadata"]["labels"] in covered
    assert all(policy["policyTypes"] == ["Ingress", "Egress"] for policy in policies)


@pytest.mark.parametrize(
    ("url", "port"),
    [
        pytest.param("https://models.example/v1", 443, id="https"),
        pytest.param("http://models.example/v1", 80, id="http"),
        pytest.param("http://vllm.models.svc:8000/v1", 8000, id="port"),
    ],
)
def test_the_models_reach_the_outside_only_for_a_remote_reasoner(
    manifests: list[Manifest], url: str, port: int
) -> None:
    def open_ports(options: DeployOptions) -> set[int]:
        policy = one(render(manifests, options), "NetworkPolicy", "slmesh-models")["spec"]
        rules = [rule for rule in policy["egress"] if "to" not in rule]
        return {item["port"] for rule in rules for item in rule["ports"]}

    assert open_ports(OPTIONS) == {53}
    assert open_ports(dataclasses.replace(OPTIONS, reasoner_base_url=url)) == {53, port}


def test_a_killed_router_finds_what_it_had_recorded(manifests: list[Manifest]) -> None:
    router = one(render(manifests, OPTIONS), "StatefulSet", "slmesh-router")["spec"]
    (claim,) = router["volumeClaimTemplates"]
    pod = router["template"]["spec"]
    mounts = {m["name"]: m["mountPath"] for m in pod["containers"][0]["volumeMounts"]}
    assert mounts[claim["metadata"]["name"]] == settings_of("router", OPTIONS)["SLMESH_STATE_DIR"]
    assert claim["metadata"]["name"] not in {volume["name"] for volume in pod["volumes"]}
    assert set(router["persistentVolumeClaimRetentionPolicy"].values()) == {"Retain"}
    service = one(render(manifests, OPTIONS), "Service", "slmesh-router")
    assert router["serviceName"] == service["metadata"]["name"]


def test_one_database_for_all_routers_is_a_secret_and_an_open_port(
    manifests: list[Manifest],
) -> None:
    options = dataclasses.replace(OPTIONS, ledger_secret="ledger-db", ledger_port=6432)
    objects = render(manifests, options)
    (container,) = one(objects, "StatefulSet", "slmesh-router")["spec"]["template"]["spec"][
        "containers"
    ]
    reference = {"secretKeyRef": {"name": "ledger-db", "key": "url"}}
    assert {"name": "SLMESH_LEDGER_URL", "valueFrom": reference} in container["env"]
    policy = one(objects, "NetworkPolicy", "slmesh-router")["spec"]
    assert {"protocol": "TCP", "port": 6432} in [p for r in policy["egress"] for p in r["ports"]]


def test_a_mesh_without_services_is_refused() -> None:
    with pytest.raises(FailedPrecondition, match="no service"):
        render([], OPTIONS)


def test_two_services_of_one_name_are_refused(manifests: list[Manifest]) -> None:
    with pytest.raises(FailedPrecondition, match="intent"):
        render([*manifests, manifests[0]], OPTIONS)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("image", "", id="no-image"),
        pytest.param("image", " slmesh", id="blank-in-image"),
        pytest.param("namespace", "My_Mesh", id="namespace-with-capitals"),
        pytest.param("monitoring_namespace", "", id="no-monitoring-namespace"),
        pytest.param("router_replicas", 0, id="no-router"),
        pytest.param("tls_secret", "a b", id="secret-with-blank"),
        pytest.param("router_storage", "4", id="storage-without-unit"),
        pytest.param("ledger_secret", "a b", id="ledger-secret-with-blank"),
        pytest.param("consul_address", "consul", id="consul-without-port"),
    ],
)
def test_an_option_a_cluster_would_refuse_is_named(field: str, value: object) -> None:
    with pytest.raises(InvalidArgument) as caught:
        DeployOptions(**{"image": "slmesh:test", field: value})
    assert caught.value.field == field
