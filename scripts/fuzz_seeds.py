#!/usr/bin/env python3
"""Writes the files that `tests/fuzz` damages: small and valid ones of every binary format that fedswarm reads.

    fuzz_seeds.py tests/fuzz/seeds

NumPy and Pillow write those that they know; the rest is written from the formats' documentation. The text seeds beside
them (TOML and JSON) are kept by hand.
"""

import gzip
import io
import json
import pathlib
import struct
import sys

import numpy as np
from PIL import Image

rng = np.random.default_rng(1)


def idx(array):
    return struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def npz(**arrays):
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def picture(form):
    out = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(out, form)
    return out.getvalue()


def safetensors(card, tensors, entry="fedswarm", kind=("F32", "<f4")):
    data, header = b"", {"__metadata__": {entry: json.dumps(card)}}
    for name, array in tensors.items():
        raw = array.astype(kind[1]).tobytes()
        header[name] = {"dtype": kind[0], "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def generator():
    card = {
        "format": 1,
        "image": [1, 4, 4],
        "latent": 2,
        "mapping": {"kind": "couplings", "layers": 1, "width": 2},
        "synthesis": {"kind": "styled", "channels": [1, 1, 1]},
        "precision": "f16",
        "origin": {"data": "none", "images": 0, "excluded": 0, "command": ""},
    }
    shapes = {
        "mapping.0.in": [1, 2], "mapping.0.hidden": [2, 2], "mapping.0.out": [2, 2], "synthesis.grid": [2, 1],
        "synthesis.1.style": [2, 8], "synthesis.1.conv": [4, 1, 3, 3], "synthesis.2.style": [2, 8],
        "synthesis.2.conv": [4, 1, 3, 3], "synthesis.out": [1, 1, 3, 3],
    }
    tensors = {"synthesis.latent.mean": np.zeros(2), "synthesis.latent.scale": np.zeros(2)}
    for name, shape in shapes.items():
        tensors[f"{name}.weight"] = rng.normal(0, 0.5, shape)
        tensors[f"{name}.bias"] = np.zeros(shape[0] if len(shape) == 4 else shape[1])
    return safetensors(card, tensors, "fedswarm-generator", ("F16", "<f2"))


def dense():
    arrays = {}
    for name, (outputs, inputs) in {"m1": (3, 2), "m2": (4, 3), "s1": (5, 4), "s2": (16, 5)}.items():
        arrays[f"{name}.weight"] = rng.normal(0, 0.5, (outputs, inputs)).astype("<f4")
        arrays[f"{name}.bias"] = np.zeros(outputs, "<f4")
    return npz(**arrays)


def main(folder):
    images, labels = rng.integers(0, 256, (6, 4, 4), np.uint8), np.array([0, 1, 2, 0, 1, 2], np.uint8)
    cifar = b"".join(bytes([k]) + rng.integers(0, 256, 3072, np.uint8).tobytes() for k in (0, 9))
    card = {"format": 1, "method": "fedmoe", "architecture": "cnn", "input": [1, 4, 4], "classes": ["a", "b"]}
    files = {
        "idx_images/plain": idx(images),
        "idx_images/gzipped": gzip.compress(idx(images), mtime=0),
        "idx_labels/plain": idx(labels),
        "idx_labels/gzipped": gzip.compress(idx(labels), mtime=0),
        "cifar/batch": cifar,
        "npz/bytes": npz(x_train=images, y_train=labels, x_test=images[:2], y_test=labels[:2]),
        "npz/floats": npz(images=(images / 255.0).astype(np.float32)[:, :, :, None], labels=labels.astype(np.int64)),
        "pictures/png": picture("PNG"),
        "pictures/jpeg": picture("JPEG"),
        "model_file/model": safetensors(card, {"w": rng.standard_normal((3, 4)), "b": np.zeros(3)}),
        "generator_file/couplings": generator(),
        "generator_npz/dense": dense(),
        "secret_key/key": b"a5" * 32 + b"\n",
    }
    for name, data in files.items():
        path = pathlib.Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


if __name__ == "__main__":
    main(sys.argv[1])
