#!/usr/bin/env python3
"""Recomputes a federated partition with NumPy and scikit-learn, the libraries that the reference partitions came from.

Uses:

    partition_oracle.py vectors > learning/src/partition/numpy_rng_golden.json
        golden vectors of NumPy's legacy generator, which `learning::partition::numpy_rng` re-implements

    partition_oracle.py compare --data DIR --partition FILE.json
        does the documented algorithm, run on NumPy itself, give this partition file index for index?

    partition_oracle.py digest --partition FILE.json
        the one hash by which the Rust tests know a whole partition file

    partition_oracle.py make --data DIR --peers N --seed S (--alpha A | --classes-per-peer K | --iid)
        the same hash of a partition made here

The vectors in the repository were made with numpy 1.26.4 and scikit-learn 1.9.1 (any NumPy keeps the legacy stream frozen).
DIR holds the four Fashion-MNIST files (Debian: package dataset-fashion-mnist).
"""

import argparse
import gzip
import hashlib
import json
import math
import pathlib
import sys

import numpy as np

TRAIN_RATIO = 0.75
BATCH = 10


def labels_of(folder):
    parts = []
    for part in ("train", "t10k"):
        raw = gzip.decompress((pathlib.Path(folder) / f"{part}-labels-idx1-ubyte.gz").read_bytes())
        parts.append(np.frombuffer(raw, np.uint8, offset=8))
    return np.concatenate(parts)


def dirichlet(labels, peers, classes, alpha, least):
    fair = len(labels) / peers
    while True:
        held = [np.zeros(0, np.int64) for _ in range(peers)]
        for cls in range(classes):
            members = np.flatnonzero(labels == cls)
            np.random.shuffle(members)
            share = np.random.dirichlet(np.full(peers, alpha))
            share = share * np.array([len(h) < fair for h in held])
            share = share / share.sum()
            cuts = (np.cumsum(share) * len(members)).astype(int)[:-1]
            held = [np.concatenate([h, new]) for h, new in zip(held, np.split(members, cuts))]
        if min(len(h) for h in held) >= least:
            return held


def pathological(labels, peers, classes, per_peer, least, balanced=False):
    held = [np.zeros(0, np.int64) for _ in range(peers)]
    slots = [per_peer] * peers
    for cls in range(classes):
        members = np.flatnonzero(labels == cls)
        takers = [p for p in range(peers) if slots[p] > 0][: math.ceil(peers / classes * per_peer)]
        if not takers:
            continue
        fair = len(members) / len(takers)
        if balanced:
            counts = [int(fair)] * (len(takers) - 1)
        else:
            counts = np.random.randint(max(fair / 10, least / classes), fair, len(takers) - 1).tolist()
        counts.append(len(members) - sum(counts))
        start = 0
        for peer, count in zip(takers, counts):
            held[peer] = np.concatenate([held[peer], members[start : start + count]])
            start += count
            slots[peer] -= 1
    return held


def make(labels, peers, seed, alpha=None, per_peer=None, balanced=False):
    from sklearn.model_selection import train_test_split

    np.random.seed(seed)
    classes = int(labels.max()) + 1
    least = int(min(BATCH / (1 - TRAIN_RATIO), len(labels) / peers / 2))
    if alpha is not None:
        held = dirichlet(labels, peers, classes, alpha, least)
    else:
        held = pathological(labels, peers, classes, classes if balanced else per_peer, least, balanced)
    return [train_test_split(h, train_size=TRAIN_RATIO, shuffle=True) for h in held]


def compare(args):
    want = json.loads(pathlib.Path(args.partition).read_text())
    labels = labels_of(args.data)
    peers = want["num_clients"]
    seed = want.get("numpy_seed", want.get("seed"))
    if want["partition"] == "dir":
        got = make(labels, peers, seed, alpha=want["dirichlet_alpha"])
    else:
        got = make(labels, peers, seed, per_peer=want["class_per_client"])
    same = 0
    for peer, (train, test) in enumerate(got):
        client = want["clients"][str(peer)]
        full = client["train"] == train.tolist() and client["test"] == test.tolist()
        head = client["train"] == train[: len(client["train"])].tolist() and client["test"] == test[: len(client["test"])].tolist()
        same += full or head
        print(f"client {peer}: file {len(client['train'])}/{len(client['test'])} made {len(train)}/{len(test)}",
              "equal" if full else "equal as far as the file goes" if head else "DIFFERENT")
    print(f"{same} of {peers} clients equal")
    return 0 if same == peers else 1


def digest_of(peers):
    """SHA-256 over one line per list, "PEER train i,i,...\\n" then "PEER test i,i,...\\n", peers in order."""
    total = hashlib.sha256()
    for peer, lists in enumerate(peers):
        for part, indices in zip(("train", "test"), lists):
            total.update(f"{peer} {part} {','.join(map(str, indices))}\n".encode())
    return total.hexdigest()


def digest(args):
    clients = json.loads(pathlib.Path(args.partition).read_text())["clients"]
    print(digest_of((clients[str(p)]["train"], clients[str(p)]["test"]) for p in range(len(clients))))
    return 0


def make_and_digest(args):
    labels = labels_of(args.data)
    peers = make(labels, args.peers, args.seed, alpha=args.alpha, per_peer=args.classes_per_peer, balanced=args.iid)
    print(digest_of((train.tolist(), test.tolist()) for train, test in peers))
    return 0


def decimals(values):
    """As text: Python prints the shortest decimal that reads back exactly, and not every JSON reader takes such care."""
    return [repr(float(v)) for v in values]


def vectors(_):
    out = {"numpy": np.__version__}
    out["words"] = []
    for seed in (0, 1, 3, 2**32 - 1, [7, 1]):
        np.random.seed(seed)
        out["words"].append({"seed": seed, "u32": [int(np.random.randint(0, 2**32, dtype=np.uint64)) for _ in range(700)][-4:]})
    np.random.seed(1)
    out["doubles_seed1"] = decimals(np.random.random_sample(4))
    np.random.seed(2)
    out["gauss_seed2"] = decimals(np.random.standard_normal(5))
    np.random.seed(2)
    out["exponential_seed2"] = decimals(np.random.standard_exponential(4))
    out["gamma_seed5"] = []
    for shape in (0.0, 0.1, 0.5, 1.0, 2.5):
        np.random.seed(5)
        out["gamma_seed5"].append({"shape": shape, "values": decimals(np.random.standard_gamma(shape, 6))})
    np.random.seed(6)
    out["dirichlet_seed6"] = [{"alpha": a, "values": decimals(np.random.dirichlet(np.full(7, a)))} for a in (0.05, 0.3, 1.0, 10.0)]
    np.random.seed(7)
    shuffled = np.arange(23)
    np.random.shuffle(shuffled)
    out["shuffle_seed7"] = shuffled.tolist()
    out["permutation_after"] = np.random.permutation(9).tolist()
    out["randint_after"] = np.random.randint(max(7000 / 4 / 10, 4.0), 7000 / 4, 6).tolist()
    out["randint_single_value"] = np.random.randint(5, 6, 2).tolist()
    out["double_after"] = decimals([np.random.random_sample()])
    np.random.seed(8)
    out["sums_seed8"] = [{"len": n, "sum": decimals([np.random.random_sample(n).sum()])} for n in (0, 1, 7, 8, 20, 100, 128, 129, 500, 1000)]
    json.dump(out, sys.stdout, indent=1)
    print()
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    commands.add_parser("vectors").set_defaults(run=vectors)
    sub = commands.add_parser("compare")
    sub.add_argument("--data", required=True)
    sub.add_argument("--partition", required=True)
    sub.set_defaults(run=compare)
    sub = commands.add_parser("digest")
    sub.add_argument("--partition", required=True)
    sub.set_defaults(run=digest)
    sub = commands.add_parser("make")
    sub.add_argument("--data", required=True)
    sub.add_argument("--peers", type=int, required=True)
    sub.add_argument("--seed", type=int, required=True)
    scheme = sub.add_mutually_exclusive_group(required=True)
    scheme.add_argument("--alpha", type=float)
    scheme.add_argument("--classes-per-peer", type=int)
    scheme.add_argument("--iid", action="store_true")
    sub.set_defaults(run=make_and_digest)
    args = parser.parse_args()
    return args.run(args)


if __name__ == "__main__":
    sys.exit(main())
