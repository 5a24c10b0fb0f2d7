#!/usr/bin/env python3
"""Our training step against PyTorch's: the same core, interleaved, CPU time of each process as the kernel counts it.

    cargo build --release --workspace --example step
    benches/peers/step.py --ours target/release/examples/step --core 1

Installs PyTorch from PyPI into a throw-away environment, or takes the interpreter that `--python` names. Prints, per model and
batch, milliseconds of CPU per step (medians; in brackets the quartiles), theirs / ours (above 1: ours is faster) as the median
of the ratios of neighbouring runs, and the same of wall time. Linux only.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

from environment import PYTORCH, python_with

HTCNN4S = ["cnn1", "cnn2", "cnn1-fc128", "cnn2-fc128"]
LARGE = ["cnn-1", "cnn-2", "cnn-3", "cnn-4", "cnn-5", "resnet"]


class Side:
    def __init__(self, command, core):
        environment = dict(os.environ, OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
        self.process = subprocess.Popen(
            ["taskset", "-c", str(core), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        # Linux: the CPU clock of another process.
        self.clock = (~self.process.pid << 3) | 2

    def run(self, model, batch, steps):
        """CPU and wall milliseconds per step."""
        cpu, wall = time.clock_gettime(self.clock), time.perf_counter()
        self.process.stdin.write(f"{model} {batch} {steps}\n")
        self.process.stdin.flush()
        if self.process.stdout.readline().strip() != "ok":
            raise SystemExit(f"{self.process.args}: no answer to {model} {batch} {steps}")
        wall, cpu = time.perf_counter() - wall, time.clock_gettime(self.clock) - cpu
        return cpu * 1e3 / steps, wall * 1e3 / steps


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", required=True)
    parser.add_argument("--python", help="an interpreter that has PyTorch; absent, one is made")
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--models", default=",".join(HTCNN4S + LARGE))
    parser.add_argument("--batches", default="10,32,128")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--images", type=int, default=320, help="per repetition and side, at least one batch")
    parser.add_argument("--channels-last", action="store_true", help="PyTorch with its other memory format")
    parser.add_argument("--other", help="a second build of ours in place of PyTorch")
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    with python_with(PYTORCH, a.python or (a.other and sys.executable)) as python:
        compare(a, python)


def compare(a, python):
    script = str(pathlib.Path(__file__).with_name("torch_step.py"))
    theirs = [a.other] if a.other else [python, script] + ["--channels-last"] * a.channels_last
    sides = [Side([a.ours], a.core), Side(theirs, a.core)]
    if not a.json:
        print("| model | batch | ours, ms | theirs, ms | theirs / ours | by wall |\n| --- | --- | --- | --- | --- | --- |")
    for model in a.models.split(","):
        for batch in map(int, a.batches.split(",")):
            steps = max(1, a.images // batch)
            for side in sides:
                side.run(model, batch, steps)  # Sets up and warms up.
            runs = [[side.run(model, batch, steps) for side in sides] for _ in range(a.repetitions)]
            (ours, other), walls = zip(*[[s[0] for s in r] for r in runs]), [r[1][1] / r[0][1] for r in runs]
            ratio = statistics.median(t / o for o, t in zip(ours, other))
            wall = statistics.median(walls)
            if a.json:
                print(json.dumps({"model": model, "batch": batch, "ours": ours, "theirs": other, "ratio": ratio, "wall": wall}))
            else:
                (o1, o2, o3), (t1, t2, t3) = statistics.quantiles(ours, n=4), statistics.quantiles(other, n=4)
                print(
                    f"| {model} | {batch} | {o2:.2f} ({o1:.2f}-{o3:.2f}) | {t2:.2f} ({t1:.2f}-{t3:.2f}) | {ratio:.2f} | {wall:.2f} |",
                    flush=True,
                )


main()
