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


def safetensors(card, tensors):
    data, header = b"", {"__metadata__": {"fedswarm": json.dumps(card)}}
    for name, array in tensors.items():
        raw = array.astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


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
        "secret_key/key": b"a5" * 32 + b"\n",
    }
    for name, data in files.items():
        path = pathlib.Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


if __name__ == "__main__":
    main(sys.argv[1])
