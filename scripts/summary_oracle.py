"""Golden values for protocol/src/summary: FedGH's head, FedTGP's targets and ArcFace's slope with PyTorch's autograd, in double precision.

    python scripts/summary_oracle.py

One batch holds the whole list, so the order in which prototypes are learnt from makes no difference. Inputs follow from small
formulas that the test repeats. Prints fixed-point values with 24 fraction bits.
"""

import torch
from torch.nn import functional

CLASSES, LEN, AUTHORS = 3, 4, 4


def drawn(count, salt):
    """Multiples of 1/32 in -1..1."""
    return torch.tensor([((37 * i + 11 * salt) % 65 - 32) / 32 for i in range(count)], dtype=torch.float64)


def prototypes():
    """Author a has all classes but a mod 4, if that is one."""
    rows = [(a, c) for a in range(AUTHORS) for c in range(CLASSES) if c != a % 4]
    return torch.stack([drawn(LEN, 7 * a + 3 * c + 1) for a, c in rows]), torch.tensor([c for _, c in rows])


def fixed(*tensors):
    return [round(v * 2**24) for t in tensors for v in t.detach().flatten().tolist()]


def head(epochs, rate):
    x, y = prototypes()
    flat = drawn(LEN * CLASSES + CLASSES, 5)
    weight = flat[: LEN * CLASSES].reshape(LEN, CLASSES).clone().requires_grad_()
    bias = flat[LEN * CLASSES :].clone().requires_grad_()
    for _ in range(epochs):
        loss = functional.cross_entropy(x @ weight + bias, y)
        for p, g in zip((weight, bias), torch.autograd.grad(loss, (weight, bias))):
            p.data -= rate * g
    return fixed(weight, bias)


def targets(epochs, rate, most):
    x, y = prototypes()
    sizes = [(CLASSES, LEN), (LEN, LEN), (LEN,), (LEN, LEN), (LEN,)]
    flat = drawn(sum(torch.Size(s).numel() for s in sizes), 9)
    parts = []
    for size in sizes:
        count = torch.Size(size).numel()
        parts.append(flat[:count].reshape(size).clone().requires_grad_())
        flat = flat[count:]
    forward = lambda: (parts[0] @ parts[1] + parts[2]).relu() @ parts[3] + parts[4]
    means = torch.stack([x[y == c].mean(0) for c in range(CLASSES)])
    gaps = torch.cdist(means, means) + torch.diag(torch.full((CLASSES,), float("inf"), dtype=torch.float64))
    margin = min(gaps.min(1).values.max().item(), most)
    for _ in range(epochs):
        distances = (x[:, None] - forward()[None]).square().sum(2).sqrt()
        loss = functional.cross_entropy(-(distances + margin * functional.one_hot(y, CLASSES)), y)
        for p, g in zip(parts, torch.autograd.grad(loss, parts)):
            p.data -= rate * g
    return fixed(*parts, forward())


def arcface(margin=0.5, scale=64.0):
    """The slope of a row for each label; vectors, one per column, are any: they need not be a frame."""
    vectors = torch.tensor([(37 * i % 65 - 32) / 64 for i in range(9)], dtype=torch.float64).reshape(3, 3)
    rows = []
    for label in range(3):
        x = torch.tensor([[0.5, -0.25, 0.125]], dtype=torch.float64, requires_grad=True)
        cosines = functional.normalize(x) @ vectors
        own = functional.one_hot(torch.tensor([label]), 3)
        widened = torch.cos(torch.acos(cosines) + margin)
        loss = functional.cross_entropy(scale * torch.where(own > 0, widened, cosines), torch.tensor([label]))
        rows.append(torch.autograd.grad(loss, x)[0].flatten().tolist())
    return rows


if __name__ == "__main__":
    print("slopes of ArcFace:", [[round(v, 9) for v in row] for row in arcface()])
    print("head, 5 epochs at 0.5:", head(5, 0.5))
    print("targets, 4 epochs at 0.25, margin at most 100:", targets(4, 0.25, 100.0))
