"""The rendered objects are valid for the clusters they go to, checked without a cluster."""

import functools
import os
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from slmesh.deploy import DeployOptions, render
from slmesh.mesh.manifest import Manifest

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED_CRD = REPOSITORY.parent / "shared/data/kuberay_crd/ray.io_rayservices.yaml"
OLDEST, NEWEST = "1.31.0", kubernetes_validate.latest_version()
PLAIN = DeployOptions(image="slmesh:test")
FULL = DeployOptions(
    image="slmesh@sha256:" + "0" * 64,
    namespace="mesh",
    router_replicas=1,
    tls_secret="router-tls",
    consul_address="consul.consul.svc:8500",
    consul_secret="consul-acl",
    region="eu-west-1",
    zone="eu-west-1a",
    reasoner_base_url="https://models.example:8443/v1",
    reasoner_model="large",
    reasoner_secret="models-key",
)
each_variant = pytest.mark.parametrize("options", [PLAIN, FULL], ids=["plain", "full"])
Object = dict[str, Any]


@functools.cache
def ray_service_schema() -> Object:
    """Read the schema of RayService v1 and make it refuse unknown fields."""
    path = Path(os.environ.get("KUBERAY_CRD", SHARED_CRD))
    if not path.exists():
        pytest.skip(
            "the RayService CRD is not here: set KUBERAY_CRD to the file ray.io_rayservices.yaml "
            "of KubeRay's helm chart (helm-chart/kuberay-operator/crds)"
        )
    definition = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    version = next(v for v in definition["spec"]["versions"] if v["name"] == "v1")
    schema: Object = version["schema"]["openAPIV3Schema"]
    close(schema)
    return schema


def close(schema: Object) -> None:
    """Refuse fields that a schema does not name, as the API server drops them in silence."""
    properties = schema.get("properties", {})
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields", False)
    if properties and not open_ended and "additionalProperties" not in schema:
        schema["additionalProperties"] = False
    inner = [*properties.values(), schema.get("items"), schema.get("additionalProperties")]
    for child in inner:
        if isinstance(child, dict):
            close(child)


def ray_service_of(objects: list[Object]) -> Object:
    """Return the RayService among the objects."""
    return next(item for item in objects if item["kind"] == "RayService")


@each_variant
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_core_objects_are_valid(
    manifests: list[Manifest], options: DeployOptions, version: str
) -> None:
    for item in render(manifests, options):
        if item["kind"] != "RayService":
            kubernetes_validate.validate(item, version, strict=True)


@each_variant
def test_the_ray_service_is_valid(manifests: list[Manifest], options: DeployOptions) -> None:
    jsonschema.validate(ray_service_of(render(manifests, options)), ray_service_schema())


def test_a_misspelt_field_of_a_ray_service_is_found(manifests: list[Manifest]) -> None:
    service = ray_service_of(render(manifests, PLAIN))
    service["spec"]["rayClusterConfig"]["headGroupSpec"]["rayStartParameters"] = {}
    with pytest.raises(jsonschema.ValidationError, match="rayStartParameters"):
        jsonschema.validate(service, ray_service_schema())


@each_variant
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_the_pods_of_the_ray_cluster_are_valid(
    manifests: list[Manifest], options: DeployOptions, version: str
) -> None:
    cluster = ray_service_of(render(manifests, options))["spec"]["rayClusterConfig"]
    for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]:
        pod = {"apiVersion": "v1", "kind": "Pod", **group["template"]}
        kubernetes_validate.validate(pod, version, strict=True)


def test_the_service_in_front_of_the_models_is_valid(manifests: list[Manifest]) -> None:
    inner = ray_service_of(render(manifests, PLAIN))["spec"]["serveService"]
    kubernetes_validate.validate(
        {"apiVersion": "v1", "kind": "Service", **inner}, NEWEST, strict=True
    )


def test_the_mesh_as_it_is_renders_valid_objects(real_manifests: list[Manifest]) -> None:
    objects = render(real_manifests, PLAIN)
    for item in objects:
        if item["kind"] != "RayService":
            kubernetes_validate.validate(item, NEWEST, strict=True)
    jsonschema.validate(ray_service_of(objects), ray_service_schema())
