"""Writes a model as a folder that runs without slmesh: one ONNX graph, a tokenizer, two examples."""

from slmesh.export.folder import Exported, export_service

__all__ = ["Exported", "export_service"]
