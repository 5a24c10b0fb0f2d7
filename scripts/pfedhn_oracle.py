"""pFedHN in PyTorch, one client after the other as in the paper or all of a round at a time as in a network.

    python pfedhn_oracle.py --data DIR --partition FILE.json [--parallel] [--hold 0.1] [--rounds 10] [--seeds 1,2,3]

A round is a visit to each of the twenty clients. 28x28 images of one channel and a LeNet of 85,822 weights; peers: ten steps of ten images,
learning rate 0.005, momentum 0.9, decay 5e-5; hypernetwork: three hidden layers of 100, rate 0.01, momentum 0.9, decay 1e-3; both clipped at
50. With --parallel all clients train from the weights of the round before; embeddings and hidden layers have one plain step along the
mean, and the last layer goes to the least squares between what the clients ended at and where it was, held there by --hold.
"""

import argparse

import torch
from torch import nn
from torch.nn import functional as F

from pfl_oracle import load

SIZES = [(16, 1, 5, 5), (16,), (32, 16, 5, 5), (32,), (120, 512), (120,), (84, 120), (84,), (10, 84), (10,)]
COUNTS = [torch.Size(s).numel() for s in SIZES]


def answer(theta, x):
    p = [t.reshape(s) for t, s in zip(theta.split(COUNTS), SIZES)]
    for i in (0, 2):
        x = F.max_pool2d(F.relu(F.conv2d(x, p[i], p[i + 1])), 2)
    x = x.flatten(1)
    for i in (4, 6):
        x = F.relu(F.linear(x, p[i], p[i + 1]))
    return F.linear(x, p[8], p[9])


def local(theta, data):
    w, velocity, (x, y) = theta.clone(), torch.zeros_like(theta), data
    order = torch.randperm(len(y))
    for at in range(0, len(y) - 9, 10):
        rows = order[at : at + 10]
        w.requires_grad_(True)
        (g,) = torch.autograd.grad(F.cross_entropy(answer(w, x[rows]), y[rows]), w)
        g, w = g * min(1, 50 / (g.norm() + 1e-6)), w.detach()
        velocity = 0.9 * velocity + g + 5e-5 * w
        w = w - 5e-3 * velocity
    return w


class Hyper(nn.Module):
    def __init__(self, clients):
        super().__init__()
        self.embeddings = nn.Embedding(clients, 1 + clients // 4)
        layers = [nn.Linear(1 + clients // 4, 100)]
        for _ in range(3):
            layers += [nn.ReLU(), nn.Linear(100, 100)]
        self.layers = nn.Sequential(*layers, nn.Linear(100, sum(COUNTS)))

    def forward(self, client):
        return self.layers(self.embeddings(torch.tensor(client)))


def sequential(hyper, peers):
    """A round after each next()."""
    descent = torch.optim.SGD(hyper.parameters(), lr=1e-2, momentum=0.9, weight_decay=1e-3)
    while True:
        for i in torch.randperm(len(peers)).tolist():
            theta = hyper(i).detach()
            descent.zero_grad()
            hyper(i).backward(theta - local(theta, peers[i]["train"]))
            nn.utils.clip_grad_norm_(hyper.parameters(), 50)
            descent.step()
        yield


def parallel(hyper, peers, hold, rate=1e-2):
    """A round after each next()."""
    last, before = hyper.layers[-1], list(hyper.layers[:-1].parameters())
    while True:
        targets = [local(hyper(i).detach(), peer["train"]) for i, peer in enumerate(peers)]
        sums = [torch.zeros_like(p) for p in before + [hyper.embeddings.weight]]
        for i, target in enumerate(targets):
            hyper.zero_grad()
            (0.5 * (hyper(i) - target).square().sum()).backward()
            nn.utils.clip_grad_norm_(hyper.parameters(), 50)
            for total, p in zip(sums, before + [hyper.embeddings.weight]):
                total += p.grad
        with torch.no_grad():
            for total, p in zip(sums, before):
                p -= rate * total / len(peers)
            hyper.embeddings.weight -= rate * sums[-1]
            h = torch.stack([hyper.layers[:-1](hyper.embeddings(torch.tensor(i))) for i in range(len(peers))])
            h = torch.cat([h, torch.ones(len(peers), 1)], 1).double()
            missing = torch.stack(targets) - torch.stack([hyper(i) for i in range(len(peers))])
            change = torch.linalg.solve(h @ h.T + hold * torch.eye(len(peers)), h).float().T @ missing
            last.weight += change[:-1].T
            last.bias += change[-1]
        yield


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--data", "--partition"):
        parser.add_argument(name, required=True)
    parser.add_argument("--parallel", action="store_true")
    parser.add_argument("--hold", type=float, default=0.1)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seeds", default="1")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    peers = load(arguments.data, arguments.partition)
    for seed in map(int, arguments.seeds.split(",")):
        torch.manual_seed(seed)
        hyper = Hyper(len(peers))
        visits = parallel(hyper, peers, arguments.hold) if arguments.parallel else sequential(hyper, peers)
        for number in range(1, arguments.rounds + 1):
            next(visits)
            with torch.no_grad():
                tests = [(answer(hyper(i), peer["test"][0]).argmax(1) == peer["test"][1]) for i, peer in enumerate(peers)]
            print(f"seed {seed} round {number:3} accuracy {100 * torch.cat(tests).float().mean():.2f}", flush=True)


if __name__ == "__main__":
    main()
