#!/usr/bin/env python3
"""Rounds without training, ours against Flower's and hivemind's: the same machine, interleaved.

    cargo build --release
    benches/peers/rounds.py --ours target/release/fedswarm --peer flower-simulation --nodes 10
    benches/peers/rounds.py --ours target/release/fedswarm --peer flower-grpc --nodes 10
    benches/peers/rounds.py --ours target/release/fedswarm --peer hivemind --nodes 4

Installs Flower or hivemind from PyPI into a throw-away environment, or takes the interpreter that `--python` names. Ours are
nodes of one process over TCP that sign, vote on and certify every round (`fedswarm bench rounds`; `--voters` of them, or all);
Flower's are a star, nothing signed: clients in the workers of Ray, or a process for each over gRPC; hivemind's peers with two
processes each and its daemon (all-reduce, found by its DHT). Prints the median round (in brackets the quartiles of the runs'
medians), theirs / ours as the median of the ratios of neighbouring runs, processor milliseconds of a round of all processes
together, and seconds until the first round is done. Linux only.
"""

import argparse
import json
import pathlib
import statistics
import subprocess

from environment import PYTORCH, python_with, spread

PEERS = {
    "flower-grpc": (["flower_round.py", "--engine", "grpc"], ["flwr==1.41.0", "numpy"]),
    "flower-simulation": (["flower_round.py", "--engine", "simulation"], ["flwr[simulation]==1.41.0", "numpy"]),
    "hivemind": (["hivemind_round.py"], [*PYTORCH, "hivemind==1.1.12"]),
}


def last_object(command, patience):
    """What a command prints as its last line."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=patience)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", required=True, help="the fedswarm program")
    parser.add_argument("--peer", required=True, choices=sorted(PEERS))
    parser.add_argument("--python", help="an interpreter that has the peer; absent, one is made")
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--voters", type=int, help="of ours; absent, all")
    parser.add_argument("--parameters", default="100,183296", help="sizes of the vector")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--patience", type=float, default=600, help="seconds for one run of one side")
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    if a.repetitions < 2:
        parser.error("--repetitions: quartiles need 2 at least")
    (script, *options), packages = PEERS[a.peer]
    script = str(pathlib.Path(__file__).with_name(script))
    with python_with(packages, a.python) as python:
        if not a.json:
            print(f"| parameters | ours, ms | {a.peer}, ms | theirs / ours | CPU ours | CPU theirs | by CPU | first round, s |")
            print("| --- | --- | --- | --- | --- | --- | --- | --- |")
        for parameters in a.parameters.split(","):
            size = ["--nodes", str(a.nodes), "--parameters", parameters, "--rounds", str(a.rounds)]
            runs = []
            for _ in range(a.repetitions):
                ours = last_object([a.ours, "bench", "rounds", *size, "--voters", str(a.voters or a.nodes), "--json"], a.patience)
                theirs = last_object([python, script, *options, *size], a.patience)
                runs.append((ours, theirs))
            wall = [[ours["median_ms"] for ours, _ in runs], [statistics.median(t["round_ms"]) for _, t in runs]]
            cpu = [[ours["cpu_ms"] for ours, _ in runs], [theirs["cpu_ms"] for _, theirs in runs]]
            by_wall, by_cpu = (statistics.median(t / o for o, t in zip(*values)) for values in (wall, cpu))
            start = statistics.median(theirs["start_s"] for _, theirs in runs)
            if a.json:
                kept = {"peer": a.peer, "nodes": a.nodes, "parameters": int(parameters), "wall_ms": wall, "cpu_ms": cpu}
                print(json.dumps(kept | {"by_wall": by_wall, "by_cpu": by_cpu, "their_start_s": start}), flush=True)
            else:
                cells = [parameters, spread(wall[0]), spread(wall[1]), f"{by_wall:.2f}", spread(cpu[0]), spread(cpu[1])]
                print("| " + " | ".join([*cells, f"{by_cpu:.2f}", f"{start:.1f}"]) + " |", flush=True)


main()
