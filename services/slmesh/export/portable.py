"""Makes the int8 encoder exact on any processor, whatever machine it was compiled on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

__all__ = ["portable_int8"]


def portable_int8(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store each int8 weight w as the byte w + 128 with a zero point of 128: the same numbers.

    Processors without VNNI add pairs of products of unsigned and signed bytes in 16 bits, which
    overflows; of two unsigned sides onnxruntime widens them first. See ``weights.quantise``, which
    picks for one machine what is exact and fastest there; an exported folder goes to others.
    """
    from onnx import numpy_helper

    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "MatMulInteger":
            continue
        for name in (node.input[1], node.input[3]):  # the weights and their zero point
            weights = numpy_helper.to_array(tensors[name])
            if weights.dtype == np.int8:
                moved = (weights.astype(np.int16) + 128).astype(np.uint8)
                tensors[name].CopyFrom(numpy_helper.from_array(moved, name))
    return model
