#!/usr/bin/env python3
"""A whole round of twenty unlike peers, ours against PyTorch's: the same two cores, interleaved.

    cargo build --release --workspace --example round
    benches/peers/round.py --ours target/release/examples/round --cores 0,1

Installs PyTorch from PyPI into a throw-away environment, or takes the interpreter that `--python` names. Peers have the four
models of HtCNN4s, 100 images to train on, batch 10, and 100 to be measured on; `local` shares nothing, `fedmoe` is ours against
the same arithmetic. PyTorch runs twice: one process whose operations use two threads, and two processes of one thread, as
somebody would write who wants both cores. Prints wall and CPU milliseconds of a round (medians; in brackets the quartiles) and
theirs / ours as the median of the ratios of neighbouring runs. Linux only.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import time

from environment import PYTORCH, python_with, spread


class Side:
    def __init__(self, command, cores, threads):
        environment = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
        self.process = subprocess.Popen(
            ["taskset", "-c", cores, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        # Linux: the CPU clock of another process, for the side that does not tell by itself.
        self.clock = (~self.process.pid << 3) | 2

    def run(self, method):
        """CPU and wall milliseconds of a round."""
        cpu, wall = time.clock_gettime(self.clock), time.perf_counter()
        self.process.stdin.write(f"{method} 2\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if answer[:1] != ["ok"]:
            raise SystemExit(f"{self.process.args}: no answer to {method}")
        wall, cpu = time.perf_counter() - wall, time.clock_gettime(self.clock) - cpu
        return (float(answer[1]) if len(answer) > 1 else cpu) * 1e3, wall * 1e3


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", required=True)
    parser.add_argument("--python", help="an interpreter that has PyTorch; absent, one is made")
    parser.add_argument("--cores", default="0,1")
    parser.add_argument("--methods", default="local,fedmoe")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    with python_with(PYTORCH, a.python) as python:
        compare(a, python)


def compare(a, python):
    script = str(pathlib.Path(__file__).with_name("torch_round.py"))
    ours = Side([a.ours], a.cores, 1)
    theirs = {
        "one process, two threads": Side([python, script, "--workers", "1"], a.cores, 2),
        "two processes": Side([python, script, "--workers", "2"], a.cores, 1),
    }
    if not a.json:
        print("| method | PyTorch as | ours, ms | theirs, ms | theirs / ours | CPU ours | CPU theirs | by CPU |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for method in a.methods.split(","):
        for name, other in theirs.items():
            for side in (ours, other):
                side.run(method)  # Sets up and warms up.
                side.run(method)
            runs = [(ours.run(method), other.run(method)) for _ in range(a.repetitions)]
            cpu, wall = ([[run[side][i] for run in runs] for side in (0, 1)] for i in (0, 1))
            by_cpu, by_wall = (statistics.median(t / o for o, t in zip(*values)) for values in (cpu, wall))
            if a.json:
                print(json.dumps({"method": method, "theirs": name, "wall": wall, "cpu": cpu, "by_wall": by_wall, "by_cpu": by_cpu}))
            else:
                cells = [method, name, spread(wall[0]), spread(wall[1]), f"{by_wall:.2f}", spread(cpu[0]), spread(cpu[1]), f"{by_cpu:.2f}"]
                print("| " + " | ".join(cells) + " |", flush=True)


main()
