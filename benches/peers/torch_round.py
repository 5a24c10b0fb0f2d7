"""PyTorch's side of round.py: whole rounds of twenty unlike peers, the same arithmetic, on two cores.

Reads lines `METHOD THREADS` and answers each with `ok SECONDS`: the CPU time that all its processes took. With `--workers 1` one
process does all peers in turn and its operations may use that many threads; with `--workers 2` two processes share the peers,
one thread each. A round: every peer takes the merged state in, is measured on 100 images, trains on 100 others (batch 10, plain
gradient descent), and what is shared is averaged. `fedmoe` is the method of learning/src/methods/fedmoe: a shared extractor with
a head of its own, a local model, and a gate; momentum and clipping on what is shared, and a start ahead of the merged state.
"""

import resource
import sys

import torch
from torch import multiprocessing as mp
from torch import nn
from torch.nn import functional as F

from torch_models import FAMILY, extractor, images

MODELS = [FAMILY[name] for name in ("cnn1", "cnn2", "cnn1-fc128", "cnn2-fc128")]
PEERS, IMAGES, BATCH, SIDE, CLASSES, WIDTH = 20, 100, 10, 28, 10, 128


def gate():
    d = SIDE * SIDE
    return nn.Sequential(
        nn.Flatten(), nn.LayerNorm(d), nn.Linear(d, 64), nn.Sigmoid(), nn.LayerNorm(64), nn.Linear(64, 2), nn.Softmax(1)
    )


def data(peer):
    return images(peer, IMAGES, 1, SIDE), torch.arange(IMAGES) % CLASSES


class Local:
    shared = None

    def __init__(self, peer):
        torch.manual_seed(peer)
        self.train_set, self.test_set = data(peer), data(peer + 1)
        self.model = nn.Sequential(extractor(1, SIDE, *MODELS[peer % 4]), nn.Linear(WIDTH, CLASSES))
        self.optimiser = torch.optim.SGD(self.model.parameters(), lr=0.01)

    def logits(self, x):
        return self.model(x)

    def loss(self, x, y):
        return F.cross_entropy(self.model(x), y)

    def install(self, state):
        pass

    def clip(self):
        pass

    def round(self, state):
        self.install(state)
        with torch.no_grad():
            x, y = self.test_set
            (self.logits(x).argmax(1) == y).sum().item()
        self.start()
        x, y = self.train_set
        total = 0.0
        for rows in torch.randperm(IMAGES).split(BATCH):
            self.optimiser.zero_grad(set_to_none=True)
            loss = self.loss(x[rows], y[rows])
            loss.backward()
            self.clip()
            self.optimiser.step()
            total += loss.detach()
        total.item()

    def start(self):
        pass


class Moe(Local):
    def __init__(self, peer):
        super().__init__(peer)
        self.local, self.head, self.gate = extractor(1, SIDE, *MODELS[peer % 4]), nn.Linear(WIDTH, CLASSES), gate()
        self.theta, self.theta_head = extractor(1, SIDE, *FAMILY["cnn2"]), nn.Linear(WIDTH, CLASSES)
        self.shared = [*self.theta.parameters(), *self.theta_head.parameters()]
        own = [*self.local.parameters(), *self.head.parameters(), *self.gate.parameters()]
        self.optimiser = torch.optim.SGD([{"params": own}, {"params": self.shared, "momentum": 0.9}], lr=0.01)
        self.shares = (torch.full((1, CLASSES), IMAGES / CLASSES + 0.1) / (IMAGES + CLASSES * 0.1)).log()
        self.anchor = None

    def see(self, x):
        g, f, a = self.theta(x), self.local(x), self.gate(x)
        return self.head(f + a[:, :1] * g), self.theta_head(g) + self.shares

    def logits(self, x):
        private, generic = self.see(x)
        return (F.log_softmax(private, 1) + F.log_softmax(generic, 1)) * 0.5

    def loss(self, x, y):
        private, generic = self.see(x)
        return F.cross_entropy(private, y) + F.cross_entropy(generic, y)

    def clip(self):
        nn.utils.clip_grad_norm_(self.theta.parameters(), 5.0)
        nn.utils.clip_grad_norm_(self.theta_head.parameters(), 5.0)

    def install(self, state):
        if state is not None:
            nn.utils.vector_to_parameters(state, self.shared)
        for parameter in self.shared:
            self.optimiser.state[parameter].pop("momentum_buffer", None)

    def start(self):
        now = nn.utils.parameters_to_vector(self.shared).detach().clone()
        if self.anchor is not None:
            nn.utils.vector_to_parameters(now + 0.8 * (now - self.anchor), self.shared)
        self.anchor = now


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def work(pipe, peers, threads):
    torch.set_num_threads(threads)
    methods = {}
    while (task := pipe.recv()) is not None:
        name, state = task
        if name not in methods:
            methods[name] = [(Moe if name == "fedmoe" else Local)(peer) for peer in peers]
        before, total = cpu(), None
        for member in methods[name]:
            member.round(state)
            if member.shared:
                flat = nn.utils.parameters_to_vector(member.shared).detach() / PEERS
                total = flat if total is None else total + flat
        pipe.send((cpu() - before, None if total is None else total.numpy()))


def main():
    workers = int(sys.argv[sys.argv.index("--workers") + 1]) if "--workers" in sys.argv else 2
    pipes, states = [], {}
    for i in range(workers):
        ours, theirs = mp.Pipe()
        mp.Process(target=work, args=(theirs, range(i, PEERS, workers), 2 // workers), daemon=True).start()
        pipes.append(ours)
    for line in sys.stdin:
        name, _ = line.split()
        before = cpu()
        for pipe in pipes:
            pipe.send((name, states.get(name)))
        answers = [pipe.recv() for pipe in pipes]
        if answers[0][1] is not None:
            states[name] = torch.from_numpy(sum(total for _, total in answers))
        print("ok", cpu() - before + sum(seconds for seconds, _ in answers), flush=True)


if __name__ == "__main__":
    main()
