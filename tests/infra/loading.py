"""Loads the small programs of the image, which belong to no package."""

import importlib.util
from pathlib import Path
from types import ModuleType

IMAGES = Path(__file__).resolve().parents[2] / "infra" / "images"


def load_program(name: str) -> ModuleType:
    """Import a program of infra/images without running it."""
    spec = importlib.util.spec_from_file_location(name, IMAGES / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
