"""Answers with the model of this folder: ``python example.py TEXT ...``, one line of JSON a text."""

import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

BASE, MIX, SALT, ALL = 0x9E3779B97F4A7C15, 0xFF51AFD7ED558CCD, 0x2545F4914F6CDD1D, 2**64 - 1


class Model:
    """The graph, the tokenizer, and what model.json says of them."""

    def __init__(self, folder: Path) -> None:
        self.about = json.loads((folder / "model.json").read_text("utf-8"))
        self.graph = onnxruntime.InferenceSession(folder / "model.onnx")
        self.tokenizer = self.about["tokens"] and Tokenizer.from_file(f"{folder}/tokenizer.json")

    def bucket(self, piece: str, salt: int = SALT) -> int:
        """Return the hash of an n-gram: a polynomial of its code points, mixed twice."""
        value = (sum(ord(c) * pow(BASE, i, ALL + 1) for i, c in enumerate(piece)) & ALL) ^ salt
        value = (value ^ value >> 33) * MIX & ALL
        return ((value ^ value >> 33) * MIX & ALL) >> 64 - int(self.about["ngrams"]["bits"])

    def inputs(self, text: str) -> dict[str, np.ndarray]:
        """Return the hashes of n-grams in and of words, how often each occurs, and the tokens."""
        rule, found = self.about["ngrams"], Counter[int]()
        words = re.findall(r"\w+|[^\w\s]", text[: rule["read_code_points"]].lower())
        for n in rule["char_sizes"]:
            for word in (f" {word} " for word in words):
                found.update(self.bucket(word[i : i + n], 0) for i in range(len(word) + 1 - n))
        for n in rule["word_sizes"]:
            found.update(self.bucket(" ".join(words[i : i + n])) for i in range(len(words) + 1 - n))
        feed = {"buckets": np.array([*found]), "counts": np.array([*found.values()], np.float32)}
        if limit := self.about["tokens"]:
            ids = self.tokenizer.encode(text[: limit["read_code_points"]]).ids
            feed["input_ids"] = np.array([ids[: limit["most"] - 1] + ids[limit["most"] - 1 :][-1:]])
        return feed

    def answer(self, text: str) -> dict[str, dict[str, Any]]:
        """Return the answer for each scale (a classifier has one), none for a text without words."""
        feed, answers = self.inputs(text), {}
        values = iter(self.graph.run(None, feed) if feed["counts"].size else ())
        for scale, probabilities in zip(self.about["scales"], values, strict=False):
            in_scope, tier = next(values)[0], "encoder" if next(values)[0] else "linear"
            abstains = bool(in_scope < scale["abstain_below"][tier])
            named = dict(zip(scale["labels"], map(float, probabilities), strict=True))
            answers[scale["name"]] = {"tier": tier, "abstains": abstains, "probabilities": named}
        return answers


if __name__ == "__main__":
    answers = map(Model(Path(__file__).resolve().parent).answer, sys.argv[1:])
    sys.stdout.writelines(json.dumps(answer, ensure_ascii=False) + "\n" for answer in answers)
