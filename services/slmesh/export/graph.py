"""Builds one ONNX graph that answers as a two-tier classifier does: both tiers, scope, calibration.

The encoder lies in a branch that runs only where the linear tier is not sure, so one run of the graph
costs what one answer of the service costs. Outside of it remain the hash of n-grams and the tokenizer.
The graph repeats the arithmetic of ``tiers.linear`` and ``tiers.classifier``; ``export.folder`` holds
it to them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from slmesh.tiers.classifier import ENCODER, LINEAR
from slmesh.tiers.neighbours import VOTE_FLOOR

if TYPE_CHECKING:
    import onnx

__all__ = ["INPUTS", "OUTPUTS", "Scale", "build"]

INPUTS = ("buckets", "counts", "input_ids")
"""The graph's inputs: int64 (N,) n-gram buckets, float32 (N,) how often each, int64 (1, T) tokens."""

OUTPUTS = ("probabilities", "in_scope", "by_encoder")
"""What it gives for each scale, named ``<scale>.<output>``: float32 (C,), float32 (1,), bool (1,)."""

_OPSET = 17
_IR_VERSION = 8


@dataclass(frozen=True)
class Scale:
    """The numbers of one classifier: all a bundle has, or one scale of a scorer.

    Attributes:
        name: What its outputs are named after.
        tensors: Its arrays, by the names of ``tiers.classifier`` without a prefix.
        calibration: By tier, as a bundle holds it.
        switch: The least confidence with which the linear tier answers.
    """

    name: str
    tensors: Mapping[str, np.ndarray]
    calibration: Mapping[str, Any]
    switch: float


def build(scales: Sequence[Scale], bits: int, encoder: onnx.ModelProto | None) -> onnx.ModelProto:
    """Return the graph.

    Args:
        scales: At least one; they share hashes and embedding.
        bits: Binary logarithm of the number of hash buckets.
        encoder: From ``input_ids`` and ``attention_mask`` to one embedding a row; None for a graph of
            linear tiers alone, which has no input ``input_ids``.
    """
    import onnx
    from onnx import helper

    main = _Nodes("main")
    results = []
    for scale in scales:
        linear = _linear(main, scale, bits)
        results.append(linear)
    outputs = [f"{scale.name}.{output}" for scale in scales for output in OUTPUTS]
    if encoder is None:
        for scale, linear in zip(scales, results, strict=True):
            answered = (linear.probabilities, linear.in_scope, main.constant(np.array([False])))
            for name, output in zip(answered, OUTPUTS, strict=True):
                main.add("Identity", [name], f"{scale.name}.{output}")
    else:
        sure = results[0].sure
        for linear in results[1:]:
            sure = main.add("And", [sure, linear.sure])
        first, second = _kept(scales, results), _encoded(scales, results, encoder)
        node = helper.make_node("If", [sure], outputs, then_branch=first, else_branch=second)
        main.nodes.append(node)
    graph = helper.make_graph(
        main.nodes,
        "slmesh",
        _declared_inputs(with_encoder=encoder is not None),
        _declared_outputs(scales),
        main.initializers,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION
    )
    model.producer_name = "slmesh"
    onnx.checker.check_model(model)
    return model


@dataclass(frozen=True)
class _Linear:
    """Names of what the linear tier of one scale gives."""

    scores: str  # (1, C)
    known: str  # (1,)
    highest: str  # (1,)
    probabilities: str  # (C,)
    in_scope: str  # (1,)
    sure: str  # (1,)


class _Nodes:
    """Collects nodes and constants; each node has one output, named here unless it is given a name."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def _name(self) -> str:
        return f"{self._prefix}.{len(self.nodes) + len(self.initializers)}"

    def constant(self, array: np.ndarray) -> str:
        from onnx import numpy_helper

        name = self._name()
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def number(self, value: float) -> str:
        return self.constant(np.array([value], np.float32))

    def add(self, operator: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        from onnx import helper

        output = output or self._name()
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def scope(self, features: Sequence[str], calibration: Mapping[str, Any]) -> str:
        """Return P(in scope), (1,), from the features, (1,) each; see ``classifier.ScopeModel``."""
        total = self.number(calibration["scope_intercept"])
        for feature, weight in zip(features, calibration["scope_weights"], strict=True):
            total = self.add("Add", [total, self.add("Mul", [feature, self.number(weight)])])
        return self.add("Sigmoid", [total])

    def energy(self, scores: str, factor: float) -> str:
        """Return the log-sum-exp of scores (1, C) times a factor, (1,)."""
        scaled = self.add("Mul", [scores, self.number(factor)])
        return self.add("ReduceLogSumExp", [scaled], axes=[1], keepdims=0)

    def largest(self, scores: str) -> str:
        """Return the largest of (1, C), (1,)."""
        return self.add("ReduceMax", [scores], axes=[1], keepdims=0)

    def probabilities(self, scores: str, temperature: float) -> str:
        """Return the calibrated probabilities of scores (1, C), (C,)."""
        scaled = self.add("Div", [scores, self.number(temperature)])
        rows = self.add("Softmax", [scaled], axis=1)
        return self.add("Squeeze", [rows, self.constant(np.array([0]))])


def _linear(nodes: _Nodes, scale: Scale, bits: int) -> _Linear:
    """Add the linear tier of one scale: ``LinearFeatures.rows`` to ``classifier.linear_output``."""
    tensors, calibration = scale.tensors, scale.calibration[LINEAR]
    vocabulary, classes = tensors["linear.weights"].shape
    # One more column, of zeros: what the vocabulary does not have.
    table = np.full(1 << bits, vocabulary, np.int32)
    table[tensors["linear.buckets"]] = np.arange(vocabulary, dtype=np.int32)
    rarity = np.append(tensors["linear.rarity"].astype(np.float32), np.float32(0))[:, None]
    weights = np.vstack([tensors["linear.weights"], np.zeros((1, classes), np.int8)])
    columns = nodes.add("Gather", [nodes.constant(table), "buckets"])  # (N,)
    counts = nodes.add("Unsqueeze", ["counts", nodes.constant(np.array([1]))])  # (N, 1)
    grown = nodes.add("Add", [nodes.add("Log", [counts]), nodes.number(1.0)])
    values = nodes.add("Mul", [grown, nodes.add("Gather", [nodes.constant(rarity), columns])])
    length = nodes.add("ReduceL2", [values], axes=[0], keepdims=1)
    values = nodes.add("Div", [values, nodes.add("Max", [length, nodes.number(1e-12)])])
    rows = nodes.add("Gather", [nodes.constant(weights), columns])  # (N, C)
    rows = nodes.add("Cast", [rows], to=1)
    row = nodes.add("Transpose", [values], perm=[1, 0])  # (1, N)
    scores = nodes.add("MatMul", [row, rows])
    scales = nodes.constant(tensors["linear.scales"].astype(np.float32))
    bias = nodes.constant(tensors["linear.bias"].astype(np.float32))
    scores = nodes.add("Add", [nodes.add("Mul", [scores, scales]), bias])
    found = nodes.add("Less", [columns, nodes.constant(np.array(vocabulary, np.int32))])
    known = nodes.add("ReduceMean", [nodes.add("Cast", [found], to=1)], axes=[0], keepdims=1)
    highest = nodes.largest(scores)
    features = [highest, nodes.energy(scores, 4.0), _gap(nodes, scores, highest, classes), known]
    in_scope = nodes.scope(features, calibration)
    probabilities = nodes.probabilities(scores, calibration["temperature"])
    top = nodes.add("ReduceMax", [probabilities], axes=[0], keepdims=1)
    confidence = nodes.add("Mul", [top, in_scope])
    sure = nodes.add("GreaterOrEqual", [confidence, nodes.number(scale.switch)])
    return _Linear(scores, known, highest, probabilities, in_scope, sure)


def _gap(nodes: _Nodes, scores: str, highest: str, classes: int) -> str:
    """Return how far the highest of scores (1, C) is above the second, (1,)."""
    from onnx import helper

    if classes == 1:
        return highest
    values, places = f"{scores}.top", f"{scores}.places"
    count = nodes.constant(np.array([2]))
    nodes.nodes.append(helper.make_node("TopK", [scores, count], [values, places], axis=1))
    second = nodes.add("Gather", [values, nodes.constant(np.array(1))], axis=1)  # (1,)
    return nodes.add("Sub", [highest, second])


def _kept(scales: Sequence[Scale], results: Sequence[_Linear]) -> Any:
    """Return the branch in which every linear tier is sure."""
    nodes = _Nodes("kept")
    for scale, linear in zip(scales, results, strict=True):
        answered = (linear.probabilities, linear.in_scope, nodes.constant(np.array([False])))
        for name, output in zip(answered, OUTPUTS, strict=True):
            nodes.add("Identity", [name], f"kept.{scale.name}.{output}")
    return _branch("kept", scales, nodes.nodes, nodes.initializers)


def _encoded(scales: Sequence[Scale], results: Sequence[_Linear], encoder: onnx.ModelProto) -> Any:
    """Return the branch with the encoder and every scale's head."""
    nodes = _Nodes("encoded")
    shape = nodes.add("Shape", ["input_ids"])
    ones = _tensor(np.array([1]))
    mask = nodes.add("ConstantOfShape", [shape], "attention_mask", value=ones)
    assert mask == encoder.graph.input[1].name
    nodes.nodes += list(encoder.graph.node)
    nodes.initializers += list(encoder.graph.initializer)
    embedding = encoder.graph.output[0].name  # (1, D)
    for scale, linear in zip(scales, results, strict=True):
        probabilities, in_scope = _head(nodes, scale, linear, embedding)
        prefix = f"encoded.{scale.name}."
        nodes.add("Where", [linear.sure, linear.probabilities, probabilities], prefix + OUTPUTS[0])
        nodes.add("Where", [linear.sure, linear.in_scope, in_scope], prefix + OUTPUTS[1])
        nodes.add("Not", [linear.sure], prefix + OUTPUTS[2])
    return _branch("encoded", scales, nodes.nodes, nodes.initializers)


def _head(nodes: _Nodes, scale: Scale, linear: _Linear, embedding: str) -> tuple[str, str]:
    """Add the head of one scale: ``EncoderHead.logits`` and ``encoder_output``."""
    tensors, calibration = scale.tensors, scale.calibration[ENCODER]
    weights = nodes.constant(tensors["encoder.weights"].astype(np.float32))
    bias = nodes.constant(tensors["encoder.bias"].astype(np.float32))
    centroids = nodes.constant(np.ascontiguousarray(tensors["encoder.centroids"].T, np.float32))
    share = nodes.add("Mul", [linear.scores, nodes.number(calibration["linear_share"])])
    logits = nodes.add("Add", [nodes.add("MatMul", [embedding, weights]), bias])
    logits = nodes.add("Add", [logits, share])
    if "encoder.neighbours" in tensors:
        logits = nodes.add("Add", [logits, _votes(nodes, scale, embedding)])
    nearest = nodes.largest(nodes.add("MatMul", [embedding, centroids]))
    features = [nodes.energy(logits, 1.0), nearest, linear.highest, linear.known]
    in_scope = nodes.scope(features, calibration)
    return nodes.probabilities(logits, calibration["temperature"]), in_scope


def _votes(nodes: _Nodes, scale: Scale, embedding: str) -> str:
    """Add the votes of the training texts nearby, (1, C): ``Neighbours.logits``."""
    tensors, calibration = scale.tensors, scale.calibration[ENCODER]
    quantised = nodes.add("Cast", [nodes.constant(tensors["encoder.neighbours"])], to=1)  # (D, N)
    scales = nodes.constant(tensors["encoder.neighbour_scales"])
    cosines = nodes.add("Mul", [nodes.add("MatMul", [embedding, quantised]), scales])  # (1, N)
    distances = nodes.add("Sub", [cosines, nodes.number(1.0)])
    widths = nodes.add("Div", [distances, nodes.number(calibration["neighbour_width"])])
    counts = tensors["encoder.neighbour_counts"]
    columns = nodes.constant(np.repeat(np.arange(len(counts)), counts)[None, :])
    none = nodes.constant(np.zeros((1, len(counts)), np.float32))
    weights = nodes.add(
        "ScatterElements", [none, columns, nodes.add("Exp", [widths])], axis=1, reduction="add"
    )
    total = nodes.add("ReduceSum", [weights, nodes.constant(np.array([1]))], keepdims=1)
    floored = nodes.add("Add", [nodes.add("Div", [weights, total]), nodes.number(VOTE_FLOOR)])
    share = nodes.number(calibration["neighbour_share"])
    return nodes.add("Mul", [nodes.add("Log", [floored]), share])


def _branch(
    prefix: str, scales: Sequence[Scale], nodes: Sequence[Any], initializers: Sequence[Any]
) -> Any:
    from onnx import helper

    return helper.make_graph(
        nodes, prefix, [], _declared_outputs(scales, prefix + "."), initializers
    )


def _declared_inputs(*, with_encoder: bool) -> list[Any]:
    from onnx import TensorProto, helper

    kinds = (TensorProto.INT64, ["ngrams"]), (TensorProto.FLOAT, ["ngrams"])
    tokens = ((TensorProto.INT64, [1, "tokens"]),) if with_encoder else ()
    return [
        helper.make_tensor_value_info(name, kind, shape)
        for name, (kind, shape) in zip(INPUTS, (*kinds, *tokens), strict=False)
    ]


def _declared_outputs(scales: Sequence[Scale], prefix: str = "") -> list[Any]:
    from onnx import TensorProto, helper

    declared = []
    for scale in scales:
        shapes = [len(scale.tensors["linear.bias"])], [1], [1]
        kinds = TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.BOOL
        for output, kind, shape in zip(OUTPUTS, kinds, shapes, strict=True):
            name = f"{prefix}{scale.name}.{output}"
            declared.append(helper.make_tensor_value_info(name, kind, shape))
    return declared


def _tensor(array: np.ndarray) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(array)
