#!/usr/bin/env python3
"""Golden values for knowledge transfer (learning/src/transfer), computed with NumPy and without this repository's code.

    python3 -m venv venv && venv/bin/pip install numpy blake3
    venv/bin/python scripts/transfer_oracle.py > learning/src/transfer/golden.json

Gradients are central differences of the loss in float64, so that no derivation of the Rust code is repeated here.
The frame's random entries come from BLAKE3 as `fedswarm_protocol::hash::Stream` draws them; its orthogonal factor is
NumPy's (Householder), with the signs that make R's diagonal positive, which is what Gram and Schmidt give.
"""

import json
import struct

import numpy as np
from blake3 import blake3

C, H, N = 4, 6, 7
rng = np.random.default_rng(20261122)


def rounded(x):
    """Values that are exact in float32, so that both sides start from the same numbers."""
    return np.asarray(x, np.float32).astype(np.float64)


def stream_units(context, part, count):
    hasher = blake3(derive_key_context=f"fedswarm v1 stream {context}")
    hasher.update(struct.pack("<Q", len(part)))
    hasher.update(part)
    words = struct.unpack(f"<{count}Q", hasher.digest(length=8 * count))
    return np.array([(w >> 11) / 2.0**53 for w in words])


def frame(classes, common):
    columns = stream_units("etf", common, classes * classes).reshape(classes, classes).T
    q, r = np.linalg.qr(columns)
    q = q * np.sign(np.diag(r))
    m = np.sqrt(classes / (classes - 1)) * q @ (np.eye(classes) - np.ones((classes, classes)) / classes)
    return m / np.linalg.norm(m, axis=0)


def kernel(a, b):
    d = ((a[:, None, :] - b[None, :, :]) ** 2).sum(-1)
    return sum(np.exp(-d / (2.0 * s)) for s in (10.0, 15.0, 20.0, 50.0))


def mmd(a, b):
    return (kernel(a, a) + kernel(b, b) - 2.0 * kernel(a, b)).mean()


def difference(f, x, h=1e-6):
    """Central differences of f at the flat vector x."""
    out = np.zeros_like(x)
    for i in range(x.size):
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        out[i] = (f(up) - f(down)) / (2 * h)
    return out


def cut(flat):
    sizes = [C * C, C, C, C, C * H, H]
    w1, b1, scale, shift, w2, b2 = np.split(flat, np.cumsum(sizes)[:-1])
    return w1.reshape(C, C), b1, scale, shift, w2.reshape(C, H), b2


def forward(flat, p, mean=None, variance=None):
    w1, b1, scale, shift, w2, b2 = cut(flat)
    x = p @ w1 + b1
    mean = x.mean(0) if mean is None else mean
    variance = x.var(0) if variance is None else variance
    x = (x - mean) / np.sqrt(variance + 1e-5)
    return np.maximum(x * scale + shift, 0.0) @ w2 + b2


class Adam:
    def __init__(self, size, lr):
        self.m, self.v, self.t, self.lr = np.zeros(size), np.zeros(size), 0, lr

    def step(self, x, g):
        g = g * min(1.0, 100.0 / (np.linalg.norm(g) + 1e-6))
        self.t += 1
        self.m = 0.9 * self.m + 0.1 * g
        self.v = 0.999 * self.v + 0.001 * g * g
        return x - self.lr * (self.m / (1 - 0.9**self.t)) / (np.sqrt(self.v / (1 - 0.999**self.t)) + 1e-8)


def alignment():
    scale = np.concatenate([np.full(C * C, 0.5), np.full(C, 0.5), np.full(2 * C, 0.3), np.full(C * H, 2.0), np.full(H, 0.5)])
    weights = rounded(rng.normal(size=C * C + 3 * C + C * H + H) * scale)
    weights[C * C + C : C * C + 2 * C] += 1.0
    weights = rounded(weights)
    prototypes = rng.normal(size=(N, C))
    prototypes = rounded(prototypes / np.linalg.norm(prototypes, axis=1, keepdims=True))
    centroids = rounded(rng.normal(size=(C, H)))
    classes = [0, 1, 1, 3, 0, 3, 1]  # nobody has class 2
    latents = [rounded(rng.normal(size=(N, H)) * 2.0) for _ in range(3)]
    lam = 0.5
    start = {"weights": weights, "centroids": centroids.ravel(), "prototypes": prototypes.ravel(), "classes": classes,
             "latents": [w.ravel() for w in latents], "lambda": lam}
    f, c = Adam(weights.size, 0.01), Adam(centroids.size, 0.01)
    mean, variance, losses = np.zeros(C), np.ones(C), []
    outputs = forward(weights, prototypes)
    w = weights
    for z in latents:
        w1, b1, *_ = cut(w)
        x = prototypes @ w1 + b1
        mean = 0.9 * mean + 0.1 * x.mean(0)
        variance = 0.9 * variance + 0.1 * x.var(0, ddof=1)

        def loss(flat, cent):
            q = forward(flat, prototypes)
            return mmd(q, z) + lam * ((q - cent.reshape(C, H)[classes]) ** 2).mean()

        flat_c = centroids.ravel()
        losses.append(loss(w, flat_c))
        g, gc = difference(lambda v: loss(v, flat_c), w), difference(lambda v: loss(w, v), flat_c)
        # Batch norm takes the first bias out again: its slope is zero, and Adam would blow up the differences' rounding.
        g[C * C : C * C + C] = 0.0
        w, centroids = f.step(w, g), c.step(flat_c, gc).reshape(C, H)
    evaluated = forward(w, prototypes, mean, variance)
    means = centroids.copy()
    for k in set(classes):
        means[k] = evaluated[[i for i, y in enumerate(classes) if y == k]].mean(0)
    return {**start, "output": outputs.ravel(), "losses": losses, "trained": w, "running": np.concatenate([mean, variance]),
            "trained_centroids": centroids.ravel(), "evaluated": evaluated.ravel(), "means": means.ravel()}


def discrepancy():
    a, b = rounded(rng.normal(size=(5, 3)) * 3), rounded(rng.normal(size=(5, 3)) * 3 + 1)
    g = difference(lambda v: mmd(v.reshape(5, 3), b), a.ravel())
    return {"a": a.ravel(), "b": b.ravel(), "width": 3, "value": mmd(a, b), "gradient": g}


def arcface():
    """Rows with the true class at 1, at -1, near both, and inside."""
    cosines = rounded([
        [1.0, -0.2, 0.1], [0.3, -1.0, 0.2], [-0.4, 0.1, 0.5], [0.999, 0.2, -0.3], [0.1, 0.2, -0.95], [-0.3, 0.6, 0.2],
    ])
    labels = [0, 1, 2, 0, 2, 0]
    limit = float(np.float32(1.0) - np.float32(1e-7))  # what the clamp is in float32

    def loss(s):
        s = s.reshape(cosines.shape).copy()
        for row, y in zip(s, labels):
            row[y] = np.cos(np.arccos(np.clip(row[y], -limit, limit)) + 0.5)
        s = 64.0 * s
        top = s.max(1)
        return np.mean([np.log(np.exp(row - t).sum()) + t - row[y] for row, t, y in zip(s, top, labels)])

    inside = [2, 3, 4, 5]  # where the margin has a slope that differences can see
    g = difference(loss, cosines.ravel(), 1e-7).reshape(cosines.shape)[inside]
    return {"cosines": cosines.ravel(), "labels": labels, "loss": loss(cosines.ravel()), "inside": inside, "gradient": g.ravel()}


def prototypes():
    features = rounded(rng.normal(size=(8, C)) * 4)
    labels = [3, 0, 3, 3, 1, 0, 3, 1]
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    means = [unit[[i for i, y in enumerate(labels) if y == k]].mean(0) for k in sorted(set(labels))]
    return {"features": features.ravel(), "labels": labels, "classes": sorted(set(labels)),
            "prototypes": np.concatenate([m / np.linalg.norm(m) for m in means])}


def plain(x):
    if isinstance(x, np.ndarray):
        return [plain(v) for v in x.tolist()]
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    if isinstance(x, list):
        return [plain(v) for v in x]
    return float(f"{x:.10g}") if isinstance(x, float) else x


if __name__ == "__main__":
    frames = [{"classes": c, "common": 9, "vectors": frame(c, bytes([9] * 32)).ravel()} for c in (2, 5, 10)]
    golden = {"frames": frames, "mmd": discrepancy(), "alignment": alignment(), "arcface": arcface(), "prototypes": prototypes()}
    print("{\n" + ",\n".join(f'"{k}": {json.dumps(plain(v))}' for k, v in golden.items()) + "\n}")
