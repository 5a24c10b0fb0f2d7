"""Golden values for what voters derive of updates (protocol/src/summary), from the papers' formulas.

    python scripts/server_oracle.py fedamp | fedgen | mocha | pfedhn

By NumPy's linear algebra and PyTorch's autograd and Adam, in double precision. Inputs are those of the Rust tests. Prints arrays to paste.
"""

import sys

import numpy as np
import torch
from torch.nn import functional

torch.set_default_dtype(torch.float64)


def drawn(count, salt):
    """Multiples of 1/32 in -1..1."""
    return [((37 * i + 11 * salt) % 65 - 32) / 32 for i in range(count)]


def show(values):
    print("[" + ", ".join(f"{x:.9f}" for x in values) + "],")


def fedamp():
    """Equation 6 of arXiv 2007.03797: alpha 0.25, sigma 2."""
    models = np.array([[0.5, -1.0, 2.0], [0.75, -1.25, 1.5], [-3.0, 0.0, 1.0]])
    alpha, sigma = 0.25, 2.0
    squared = ((models[:, None] - models[None]) ** 2).sum(2)
    shares = alpha / sigma * np.exp(-squared / sigma)
    np.fill_diagonal(shares, 0)
    rows = (1 - shares.sum(1))[:, None] * models + shares @ models
    for row in rows:
        show(row)


def fedgen():
    """Four steps of Adam on the generator: noise 2, hidden 3, features 2, three classes, five samples."""
    noise, hidden, features, classes = 2, 3, 2, 3
    sizes = [(noise + classes, hidden), (hidden,), (hidden,), (hidden,), (hidden, features), (features,)]
    flat = torch.tensor(drawn(sum(torch.Size(s).numel() for s in sizes), 1))
    parts = [p.reshape(s).clone().requires_grad_() for p, s in zip(flat.split([torch.Size(s).numel() for s in sizes]), sizes)]
    first, first_bias, gain, shift, second, second_bias = parts
    head = torch.tensor(drawn((features + 1) * classes, 2))
    weight, bias = head[: features * classes].reshape(features, classes), head[features * classes :]
    labels = torch.tensor([i % 3 for i in range(5)])
    drawn_noise = torch.tensor([drawn(2, i + 3) for i in range(5)]).abs()
    x = torch.cat([drawn_noise, functional.one_hot(labels, classes).double()], 1)
    adam = torch.optim.Adam(parts, lr=0.0625)
    for _ in range(4):
        z = functional.batch_norm(x @ first + first_bias, None, None, 1 + gain, shift, training=True)
        loss = functional.cross_entropy((z.relu() @ second + second_bias) @ weight + bias, labels)
        adam.zero_grad()
        loss.backward()
        adam.step()
    show(torch.cat([p.detach().flatten() for p in parts]).tolist())


def mocha():
    """Weights, curvatures and relationships after two rounds of three members, the last of whom comes in the second."""
    lam, mu = 0.0625, 0.03125
    kernel = lambda s: 0.5 * s @ np.linalg.inv(lam * np.eye(len(s)) + mu * s)

    def relate(s, v):
        w = kernel(s) @ v
        values, vectors = np.linalg.eigh(w @ w.T)
        root = vectors @ np.diag(np.sqrt(np.maximum(values, 0))) @ vectors.T
        return root / np.trace(root)

    v = np.array([drawn(4, 1), drawn(4, 2)])
    s = relate(np.eye(2) / 2, v)
    v = np.array([drawn(4, 1), drawn(4, 4), drawn(4, 5)])
    grown = np.eye(3) / 3
    grown[:2, :2] = s
    s = relate(grown / np.trace(grown), v)
    k = kernel(s)
    for row in k @ v:
        show(row)
    show(np.diag(k) * (np.abs(k).sum(1) / np.diag(k)).max())
    show(s.flatten())


def pfedhn():
    """A round of the hypernetwork: embedding 2, hidden 3, one more layer, five weights, two authors; with a clip."""
    embedding, hidden, weights = 2, 3, 5
    rate, hold, clip = 0.25, 0.0625, 1.0
    sizes = [(embedding, hidden), (hidden,), (hidden, hidden), (hidden,), (weights, hidden), (weights,)]
    flat = torch.tensor(drawn(sum(torch.Size(s).numel() for s in sizes), 1))
    phi = [p.reshape(s).clone().requires_grad_() for p, s in zip(flat.split([torch.Size(s).numel() for s in sizes]), sizes)]
    embeddings = [torch.tensor(drawn(embedding, 6 + i)).requires_grad_() for i in range(2)]
    updates = [torch.tensor(drawn(weights, 8 + i)) / 2**i for i in range(2)]
    updates = [u * min(1.0, clip / u.norm().item()) for u in updates]

    def features(e):
        return torch.cat([(e @ phi[0] + phi[1]).relu() @ phi[2] + phi[3], torch.ones(1)])

    def last():
        return torch.cat([phi[4], phi[5][:, None]], 1)

    targets, steps = [], []
    for e, update in zip(embeddings, updates):
        targets.append((last() @ features(e) + update).detach())
        loss = 0.5 * (last() @ features(e) - targets[-1]).square().sum()
        grads = torch.autograd.grad(loss, phi + [e])
        scale = min(1.0, (clip / torch.cat([g.flatten() for g in grads]).norm()).item())
        steps.append([g * scale for g in grads])
    with torch.no_grad():
        for e, step in zip(embeddings, steps):
            e -= rate * step[-1]
        for k in range(4):
            phi[k] -= rate * (steps[0][k] + steps[1][k]) / 2
        h = torch.stack([features(e) for e in embeddings])
        # Ordinary least squares with rows for what holds the layer where it is.
        root = hold**0.5
        a = torch.cat([h, root * torch.eye(hidden + 1)])
        found = torch.linalg.lstsq(a, torch.cat([torch.stack(targets), root * last().T])).solution.T
        show(torch.cat([p.flatten() for p in phi[:4]] + [found[:, :-1].flatten(), found[:, -1]]).tolist())
        show(torch.cat([e.detach() for e in embeddings]).tolist())
        show((found @ features(embeddings[0])).tolist())


if __name__ == "__main__":
    {"fedamp": fedamp, "fedgen": fedgen, "mocha": mocha, "pfedhn": pfedhn}[sys.argv[1]]()
