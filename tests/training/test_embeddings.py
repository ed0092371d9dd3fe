"""Embeddings of training texts: kept, and gone on with after a run was killed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.weights.tiny_encoder import write_weights

from slmesh.tiers.encoder import SentenceEncoder
from slmesh.training import embeddings
from slmesh.training.embeddings import embed
from slmesh.weights.compile import compile_weights

pytest.importorskip("torch")
pytest.importorskip("onnx")

TEXTS = [f"take the saw {'now ' * (i % 5)}{i}" for i in range(50)]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    home = tmp_path_factory.mktemp("embeddings")
    write_weights(home / "encoder")
    return home / "cache", compile_weights(home / "encoder", home / "cache").digest


class Killed(Exception):
    """Stands for the end of a process."""


def test_a_killed_run_goes_on_where_it_was(cache, monkeypatch):
    monkeypatch.setattr(embeddings, "_PART", 16)
    monkeypatch.setattr(embeddings, "_STEP", 8)
    folder, digest = cache
    encoded: list[str] = []
    encode = SentenceEncoder.encode

    def counting(self: SentenceEncoder, texts: list[str]) -> np.ndarray:
        if len(encoded) >= 40:
            raise Killed
        encoded.extend(texts)
        return encode(self, texts)

    monkeypatch.setattr(SentenceEncoder, "encode", counting)
    with pytest.raises(Killed):
        embed(TEXTS, folder, digest)
    assert len(encoded) == 40
    encoded.clear()
    found = embed(TEXTS, folder, digest)
    assert len(encoded) == 50 - 32  # two parts of sixteen were kept
    monkeypatch.setattr(SentenceEncoder, "encode", encode)
    whole = SentenceEncoder(embeddings.encoder_folder(folder, digest)).encode(TEXTS)
    assert np.allclose(found, whole, atol=0.02)
    assert len(list((folder / "embeddings").iterdir())) == 1


def test_a_second_run_reads_what_the_first_kept(cache, monkeypatch):
    folder, digest = cache
    first = embed(["one", "two"], folder, digest)
    monkeypatch.setattr(SentenceEncoder, "encode", lambda self, texts: pytest.fail("encoded again"))
    assert (embed(["one", "two"], folder, digest) == first).all()
