"""FedProto, FedDistill, FedGH, FedTGP and FedKD in PyTorch, by HtFLlib's rules, over several seeds.

    python htfl_oracle.py --data DIR --partition FILE.json --method fedproto --rounds 10 --seeds 1,2,3

Written from the description of the algorithms, not from HtFLlib's code: four convolutional networks in turn, equal ones from equal
first weights, batches of 10 in the order of the data with the last one dropped, plain SGD at 0.01, accuracy over all peers' test
images together at the start of a round. `--prototypes steps` takes class means over the round's training steps, as the
released FedProto and FD do; `trained` over one pass with the trained model, as the papers' equations do.
"""

import argparse
import copy

import torch
from torch import nn
from torch.nn import functional

from pfl_oracle import BATCH, LR, load

CLASSES, FEATURES = 10, 128


def extractor(number):
    """m0 to m3 of the reference's group HtCNN4s."""
    block = lambda i, o: [nn.Conv2d(i, o, 5), nn.ReLU(), nn.MaxPool2d(2)]
    deep, hidden = number % 2 == 1, number >= 2
    layers = block(1, 32) + (block(32, 64) if deep else []) + [nn.Flatten()]
    width = 1024 if deep else 4608
    if hidden:
        layers += [nn.Linear(width, FEATURES), nn.ReLU()]
        width = FEATURES
    return nn.Sequential(*layers, nn.Linear(width, FEATURES), nn.ReLU())


class Peer(nn.Module):
    def __init__(self, number, data):
        super().__init__()
        self.base, self.head = extractor(number), nn.Linear(FEATURES, CLASSES)
        self.mapping = nn.Linear(FEATURES, FEATURES, bias=False)
        self.data = data

    def forward(self, x):
        return self.head(self.base(x))


def batches(data):
    x, y = data
    for at in range(0, len(y) - BATCH + 1, BATCH):
        yield x[at : at + BATCH], y[at : at + BATCH]


def class_means(values, labels):
    return {c.item(): values[labels == c].mean(0) for c in labels.unique()}


def global_means(uploads):
    """Mean over the peers that have a class, each counting once."""
    found = {}
    for upload in uploads:
        for c, values in upload.items():
            found.setdefault(c, []).append(values)
    return {c: torch.stack(values).mean(0) for c, values in found.items()}


def trained_means(peer, of):
    x, y = peer.data["train"]
    with torch.no_grad():
        return class_means(of(peer, x), y)


def near(features, labels, means):
    """MSE to the class's mean; classes without one add nothing."""
    target = features.detach().clone()
    for row, c in enumerate(labels.tolist()):
        if c in means:
            target[row] = means[c]
    return functional.mse_loss(features, target)


def soft(out, labels, means, raw):
    total = out.new_zeros(())
    for row, c in enumerate(labels.tolist()):
        if c in means:
            target = means[c] if raw else means[c].softmax(0)
            total = total - (target * out[row].log_softmax(0)).sum()
    return total / len(labels)


class Targets(nn.Module):
    """FedTGP's trainable prototypes."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(CLASSES, FEATURES)
        self.middle = nn.Sequential(nn.Linear(FEATURES, FEATURES), nn.ReLU(), nn.Linear(FEATURES, FEATURES))

    def forward(self):
        return self.middle(self.embedding.weight)


def train_targets(targets, uploads, epochs=100, most=100.0):
    means = global_means(uploads)
    stacked = torch.stack([means[c] for c in sorted(means)])
    gaps = torch.cdist(stacked, stacked) + torch.diag(torch.full((len(stacked),), float("inf")))
    margin = min(gaps.min(1).values.max().item(), most)
    optimiser = torch.optim.SGD(targets.parameters(), LR)
    pairs = [(values, c) for upload in uploads for c, values in upload.items()]
    x, y = torch.stack([p for p, _ in pairs]), torch.tensor([c for _, c in pairs])
    for _ in range(epochs):
        for rows in torch.randperm(len(y)).split(BATCH):
            distances = (x[rows, None] - targets()[None]).square().sum(2).clamp_min(1e-24).sqrt()
            distances = distances + margin * functional.one_hot(y[rows], CLASSES)
            optimiser.zero_grad()
            functional.cross_entropy(-distances, y[rows]).backward()
            optimiser.step()
    with torch.no_grad():
        return dict(enumerate(targets()))


def train_head(head, uploads, epochs=1):
    optimiser = torch.optim.SGD(head.parameters(), LR)
    pairs = [(values, c) for upload in uploads for c, values in upload.items()]
    x, y = torch.stack([p for p, _ in pairs]), torch.tensor([c for _, c in pairs])
    for _ in range(epochs):
        for rows in torch.randperm(len(y)).split(BATCH):
            optimiser.zero_grad()
            functional.cross_entropy(head(x[rows]), y[rows]).backward()
            optimiser.step()


def divergence(q, p):
    """KL(softmax q || softmax p), mean over images and classes."""
    return functional.kl_div(p.log_softmax(1), q.softmax(1), reduction="mean")


def train_fedkd(peer, mentee):
    modules = [peer.base, peer.head, peer.mapping, mentee]
    optimiser = torch.optim.SGD([p for m in modules for p in m.parameters()], LR)
    for x, y in batches(peer.data["train"]):
        f_m, f_g = peer.base(x), mentee.base(x)
        m, g = peer.head(f_m), mentee.head(f_g)
        ce_m, ce_g = functional.cross_entropy(m, y), functional.cross_entropy(g, y)
        total = ce_m + ce_g
        features = functional.mse_loss(f_m, peer.mapping(f_g)) / total
        loss = ce_m + ce_g + divergence(g, m) / total + divergence(m, g) / total + 2 * features
        optimiser.zero_grad()
        loss.backward()
        own = list(peer.base.parameters()) + list(peer.head.parameters())
        for group in (own, list(mentee.base.parameters()) + list(mentee.head.parameters()), list(peer.mapping.parameters())):
            nn.utils.clip_grad_norm_(group, 10)
        optimiser.step()


def truncated(tensor, energy):
    """FedKD's compression: the leading singular values that hold so much of the energy; whole, where they would need more."""
    if tensor.dim() < 2 or tensor.shape[0] < 2:
        return tensor
    flat = tensor.reshape(tensor.shape[0], -1)
    u, s, v = torch.linalg.svd(flat, full_matrices=False)
    kept = int((s.square().cumsum(0) < energy * s.square().sum()).sum()) + 1
    if kept * (flat.shape[0] + flat.shape[1] + 1) >= flat.numel():
        return tensor
    return (u[:, :kept] * s[:kept] @ v[:kept]).reshape(tensor.shape)


def run(data, options, seed):
    method, lam = options.method, options.lam
    first, peers = {}, []
    torch.manual_seed(seed)
    for i, own in enumerate(data):
        first.setdefault(i % 4, Peer(i % 4, None))
        if options.common_head:
            first[i % 4].head.load_state_dict(first[0].head.state_dict())
        peers.append(copy.deepcopy(first[i % 4]))
        peers[-1].data = own
    means, targets, head = {}, Targets(), copy.deepcopy(peers[0].head)
    mentee = copy.deepcopy(first[0])
    features, logits = (lambda p, x: p.base(x)), (lambda p, x: p(x))
    accuracies = []
    for number in range(options.rounds + 1):
        right = total = 0
        for peer in peers:
            if method == "fedgh":
                peer.head.load_state_dict(head.state_dict())
            x, y = peer.data["test"]
            with torch.no_grad():
                if method in ("fedproto", "fedtgp") and means and not options.by_head:
                    known = sorted(means)
                    distances = torch.cdist(peer.base(x), torch.stack([means[c] for c in known]))
                    answers = torch.tensor(known)[distances.argmin(1)]
                else:
                    answers = peer(x).argmax(1)
            right += (answers == y).sum().item()
            total += len(y)
        accuracies.append(right / total)
        uploads, sums = [], None
        for peer in peers:
            if method == "fedkd":
                own = copy.deepcopy(mentee)
                train_fedkd(peer, own)
                energy = 0.95 + (number + 1) / options.rounds * 0.03
                state = [p.detach() for p in list(own.base.parameters()) + list(own.head.parameters())]
                if options.compressed:
                    state = [truncated(p, energy) for p in state]
                sums = state if sums is None else [a + b for a, b in zip(sums, state)]
                continue
            optimiser = torch.optim.SGD(peer.parameters(), LR)
            seen, labels = [], []
            for x, y in batches(peer.data["train"]):
                f = peer.base(x)
                out = peer.head(f)
                loss = functional.cross_entropy(out, y)
                if means and method in ("fedproto", "fedtgp"):
                    loss = loss + lam * near(f, y, means)
                if means and method == "feddistill":
                    loss = loss + lam * soft(out, y, means, options.raw)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                seen.append((out if method == "feddistill" else f).detach())
                labels.append(y)
            if options.prototypes == "steps":
                uploads.append(class_means(torch.cat(seen), torch.cat(labels)) if seen else {})
            else:
                uploads.append(trained_means(peer, logits if method == "feddistill" else features))
        if method in ("fedproto", "feddistill"):
            means = global_means(uploads)
        elif method == "fedtgp":
            means = train_targets(targets, uploads)
        elif method == "fedgh":
            train_head(head, uploads)
        elif method == "fedkd":
            with torch.no_grad():
                for p, s in zip(list(mentee.base.parameters()) + list(mentee.head.parameters()), sums):
                    p.copy_(s / len(peers))
    return accuracies


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--data", "--partition"):
        parser.add_argument(name, required=True)
    parser.add_argument("--method", required=True, choices=["local", "fedproto", "feddistill", "fedgh", "fedtgp", "fedkd"])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--lam", type=float, default=10.0, help="weight of the second loss; FD's script has 1")
    parser.add_argument("--prototypes", choices=["steps", "trained"], default="trained")
    parser.add_argument("--by-head", action="store_true", help="answer by the head, not by the nearest prototype")
    parser.add_argument("--common-head", action="store_true", help="unlike networks begin with the same head")
    parser.add_argument("--raw", action="store_true", help="FD as released: raw logits as soft targets")
    parser.add_argument("--compressed", action="store_true", help="FedKD with its truncated singular values")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load(options.data, options.partition)
    for seed in map(int, options.seeds.split(",")):
        found = run(data, options, seed)
        shown = {r: f"{100 * found[r]:.2f}" for r in (2, 4, 10, 20) if r <= options.rounds}
        print(options.method, "seed", seed, shown, flush=True)


if __name__ == "__main__":
    main()
