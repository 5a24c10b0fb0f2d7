"""FedAvg, FedRep, Per-FedAvg and Ditto in PyTorch, by PFLlib's rules, over several seeds: the spread that one run hides.

    python pfl_oracle.py --data DIR --partition FILE.json --method fedavg --rounds 20 --seeds 1,2,3

DIR holds the four IDX files of Fashion-MNIST. Written from the description of the algorithms, not from PFLlib's code: one shared
initial model, shuffled batches of 10 with the last one dropped, plain SGD at 0.01, weights n_i / n, accuracy over all peers'
test images together at the start of a round.
"""

import argparse
import copy
import gzip
import json
import pathlib

import numpy as np
import torch
from torch import nn

BATCH, LR = 10, 0.01


def idx(folder, stem):
    path = next(p for p in pathlib.Path(folder).iterdir() if p.name.startswith(stem))
    raw = (gzip.open if path.suffix == ".gz" else open)(path, "rb").read()
    rank = raw[3]
    shape = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(rank)]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def load(folder, partition):
    images = np.concatenate([idx(folder, f"{p}-images") for p in ("train", "t10k")])
    labels = np.concatenate([idx(folder, f"{p}-labels") for p in ("train", "t10k")])
    x = torch.tensor(((images / 255 - 0.5) / 0.5)[:, None], dtype=torch.float32)
    y = torch.tensor(labels.astype(np.int64))
    clients = json.load(open(partition))["clients"]
    split = lambda c, part: c[part][:100]
    return [{part: (x[split(c, part)], y[split(c, part)]) for part in ("train", "test")} for c in clients.values()]


class FedAvgCNN(nn.Module):
    def __init__(self):
        super().__init__()
        block = lambda i, o: [nn.Conv2d(i, o, 5), nn.ReLU(), nn.MaxPool2d(2)]
        self.base = nn.Sequential(*block(1, 32), *block(32, 64), nn.Flatten(), nn.Linear(1024, 512), nn.ReLU())
        self.head = nn.Linear(512, 10)

    def forward(self, x):
        return self.head(self.base(x))


def batches(data, size):
    x, y = data
    order = torch.randperm(len(y))
    for at in range(0, len(y) - size + 1, size):
        rows = order[at : at + size]
        yield x[rows], y[rows]


def descend(model, data, parameters, near=None, mu=0.0, epochs=1):
    optimiser = torch.optim.SGD(parameters, LR)
    for _ in range(epochs):
        for x, y in batches(data, BATCH):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            if near is not None:
                for p, w in zip(model.parameters(), near):
                    p.grad += mu * (p.detach() - w)
            optimiser.step()


def gradient(model, x, y):
    return torch.autograd.grad(nn.functional.cross_entropy(model(x), y), list(model.parameters()))


def move(model, grads, by):
    with torch.no_grad():
        for p, g in zip(model.parameters(), grads):
            p += by * g


def maml(model, data):
    for _ in range(2):
        for x, y in batches(data, 2 * BATCH):
            start = [p.detach().clone() for p in model.parameters()]
            move(model, gradient(model, x[:BATCH], y[:BATCH]), -LR)
            outer = gradient(model, x[BATCH:], y[BATCH:])
            with torch.no_grad():
                for p, w in zip(model.parameters(), start):
                    p.copy_(w)
            move(model, outer, -LR)


def run(peers, method, rounds, seed):
    torch.manual_seed(seed)
    common = FedAvgCNN()
    own = [copy.deepcopy(common) for _ in peers]
    weights = torch.tensor([len(p["train"][1]) for p in peers], dtype=torch.float32)
    weights /= weights.sum()
    shared = list(common.base.parameters()) if method == "fedrep" else list(common.parameters())
    accuracies = []
    for _ in range(rounds + 1):
        right = total = 0
        for peer, model in zip(peers, own):
            if method == "fedrep":
                model.base.load_state_dict(common.base.state_dict())
                tested = model
            elif method == "ditto":
                tested = model
            else:
                tested = copy.deepcopy(common)
            if method == "per-fedavg":
                for x, y in batches(peer["train"], BATCH):
                    move(tested, gradient(tested, x, y), -LR)
                    break
            x, y = peer["test"]
            with torch.no_grad():
                right += (tested(x).argmax(1) == y).sum().item()
            total += len(y)
        accuracies.append(right / total)
        sums = [torch.zeros_like(p) for p in shared]
        for peer, model, weight in zip(peers, own, weights):
            trained = copy.deepcopy(common)
            if method == "fedrep":
                descend(model, peer["train"], model.head.parameters())
                descend(model, peer["train"], model.base.parameters())
                updated = model.base.parameters()
            else:
                if method == "ditto":
                    near = [p.detach().clone() for p in common.parameters()]
                    descend(model, peer["train"], model.parameters(), near, 0.1)
                if method == "per-fedavg":
                    maml(trained, peer["train"])
                else:
                    descend(trained, peer["train"], trained.parameters())
                updated = trained.parameters()
            for s, p in zip(sums, updated):
                s += weight * p.detach()
        with torch.no_grad():
            for p, s in zip(shared, sums):
                p.copy_(s)
    return accuracies


def main():
    parser = argparse.ArgumentParser()
    for name in ("--data", "--partition"):
        parser.add_argument(name, required=True)
    parser.add_argument("--method", default="fedavg", choices=["fedavg", "fedrep", "per-fedavg", "ditto"])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seeds", default="1,2,3")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    peers = load(arguments.data, arguments.partition)
    for seed in map(int, arguments.seeds.split(",")):
        found = run(peers, arguments.method, arguments.rounds, seed)
        shown = {r: f"{100 * found[r]:.2f}" for r in (2, 4, 10, 20) if r <= arguments.rounds}
        print(arguments.method, "seed", seed, shown, flush=True)


if __name__ == "__main__":
    main()
