"""Fixtures of the reasoner's tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.reasoner.tiny_model import write_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama model on disk, with random weights."""
    return write_model(tmp_path_factory.mktemp("tiny") / "tiny-llama")
