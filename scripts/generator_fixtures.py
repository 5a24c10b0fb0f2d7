#!/usr/bin/env python3
"""Writes the generators of the tests, and what NumPy says that they give.

    python3 -m venv venv && venv/bin/pip install onnx numpy
    venv/bin/python scripts/generator_fixtures.py learning/testdata/generators

`mapping.onnx` takes z [n, 5] with a free n: Gemm, LeakyRelu, Gemm. `synthesis.onnx` takes w [n, 6] with a free n: Gemm, Reshape
to [n, 2, 3, 4], ConvTranspose to [n, 1, 6, 8], Tanh. `fixed.onnx` is the synthesis for n = 2. `dense.npz` has the layers of the
reference experiments, smaller: z 5, 8 units, w 6, 12 units, 4 x 4 pixels, weights as PyTorch has them. `golden.json` has inputs and the
outputs that the formulas below give in NumPy, in float64. Weights are drawn with a fixed seed. Made with onnx 1.23.2, numpy 2.4.6.
"""

import json
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SLOPE = 0.2
rng = np.random.default_rng(7)


def drawn(*shape):
    return rng.normal(0, 0.5, shape).astype(np.float32)


M1, B1, M2, B2 = drawn(5, 8), drawn(8), drawn(8, 6), drawn(6)
S, SB, K, KB = drawn(6, 24), drawn(24), drawn(2, 1, 2, 2), drawn(1)
D1, E1, D2, E2 = drawn(6, 12), drawn(12), drawn(12, 16), drawn(16)


def dense(x, weight1, bias1, weight2, bias2):
    hidden = x @ weight1.astype(float) + bias1
    return np.where(hidden > 0, hidden, SLOPE * hidden) @ weight2.astype(float) + bias2


def mapping(z):
    return dense(z, M1, B1, M2, B2)


def synthesis(w):
    x = (w @ S.astype(float) + SB).reshape(-1, 2, 3, 4)
    out = np.full((len(w), 1, 6, 8), float(KB[0]))
    for row in range(3):
        for column in range(4):
            # Stride 2 and a 2x2 kernel: no two inputs meet in an output.
            patch = np.einsum("nc,cokl->nokl", x[:, :, row, column], K.astype(float))
            out[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] += patch
    return np.tanh(out)


def save(path, nodes, weights, name_in, shape_in, name_out, shape_out):
    graph = helper.make_graph(
        nodes,
        "generator",
        [helper.make_tensor_value_info(name_in, TensorProto.FLOAT, shape_in)],
        [helper.make_tensor_value_info(name_out, TensorProto.FLOAT, shape_out)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    nodes = [
        helper.make_node("Gemm", ["z", "m1", "b1"], ["h"]),
        helper.make_node("LeakyRelu", ["h"], ["a"], alpha=SLOPE),
        helper.make_node("Gemm", ["a", "m2", "b2"], ["w"]),
    ]
    save(folder / "mapping.onnx", nodes, {"m1": M1, "b1": B1, "m2": M2, "b2": B2}, "z", ["n", 5], "w", ["n", 6])
    nodes = [
        helper.make_node("Gemm", ["w", "s", "sb"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["grid"]),
        helper.make_node("ConvTranspose", ["grid", "k", "kb"], ["pixels"], strides=[2, 2]),
        helper.make_node("Tanh", ["pixels"], ["image"]),
    ]
    weights = {"s": S, "sb": SB, "k": K, "kb": KB, "shape": np.array([-1, 2, 3, 4], np.int64)}
    for name, n in [("synthesis", "n"), ("fixed", 2)]:
        save(folder / f"{name}.onnx", nodes, weights, "w", [n, 6], "image", [n, 1, 6, 8])
    z, w = drawn(3, 5), drawn(19, 6)
    golden = {"z": z, "mapped": mapping(z), "w": w, "images": synthesis(w), "dense": np.tanh(dense(w, D1, E1, D2, E2))}
    layers = {"m1": (M1, B1), "m2": (M2, B2), "s1": (D1, E1), "s2": (D2, E2)}
    arrays = {f"{name}.weight": np.ascontiguousarray(weight.T) for name, (weight, _) in layers.items()}
    np.savez(folder / "dense.npz", **arrays, **{f"{name}.bias": bias for name, (_, bias) in layers.items()})
    text = json.dumps({key: [round(float(v), 8) for v in value.flat] for key, value in golden.items()})
    (folder / "golden.json").write_text(text + "\n")


main()
