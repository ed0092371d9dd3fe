"""Kubernetes manifests for a mesh, made from its service manifests.

Pure functions from manifests and options to dictionaries: nothing here talks to a cluster, reads a
file or knows a service by name.
"""

from slmesh.deploy.options import DeployOptions
from slmesh.deploy.render import render, to_yaml

__all__ = ["DeployOptions", "render", "to_yaml"]
