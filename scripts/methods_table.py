"""The table of docs/results/methods.md: every method in the reference loop, beside the reference code's single runs.

    python3 scripts/methods_table.py --loop target/release/examples/loop --data DIR --partitions DIR --logs DIR [--heads] [METHOD ...]

With --heads the other table: every method with a linear head and with the flagship's, on the Dirichlet partition.

DIR of --partitions holds fmnist_dir0.1_c20_seed1.json and fmnist_pat2_c20_seed1.json. A run whose log is in the folder of --logs
already is not made again. Prints Markdown: our mean and standard deviation over the seeds, and the reference's run.
"""

import argparse
import pathlib
import re
import statistics
import subprocess

LINE = re.compile(r"^seed (\d+) round +(\d+) accuracy +([\d.]+) gate")
DIRICHLET, PATHOLOGICAL = "fmnist_dir0.1_c20_seed1", "fmnist_pat2_c20_seed1"

# PFLlib's methods, and ours beside them: their batches are shuffled; HtFLlib's are not.
SHUFFLED = {"fedavg", "fedrep", "per-fedavg", "ditto", "fedamp", "mocha", "pfedhn"}

# Method, partition, and the reference's accuracy by round.
RUNS = [
    ("local", DIRICHLET, {10: 84.81, 20: 89.03}),
    ("local", PATHOLOGICAL, {10: 93.20}),
    ("fedavg", DIRICHLET, {10: 36.54, 20: 52.49}),
    ("fedavg", PATHOLOGICAL, {10: 51.45}),
    ("fedrep", DIRICHLET, {10: 80.86, 20: 86.54}),
    ("fedrep", PATHOLOGICAL, {10: 92.55}),
    ("per-fedavg", DIRICHLET, {10: 74.86, 20: 78.22}),
    ("per-fedavg", PATHOLOGICAL, {10: 70.85}),
    ("ditto", DIRICHLET, {10: 84.81, 20: 89.24}),
    ("fedamp", DIRICHLET, {10: 84.76}),
    ("fedamp:lambda=0", DIRICHLET, {10: 84.76}),
    ("mocha", DIRICHLET, {10: None}),
    ("mocha:relationship=mean", DIRICHLET, {10: None}),
    ("pfedhn", DIRICHLET, {10: 78.49, 20: 88.86}),
    ("pfedhn", PATHOLOGICAL, {10: None, 20: None}),
    ("lg-fedavg", DIRICHLET, {10: 85.19}),
    ("fedgen", DIRICHLET, {10: 84.54}),
    ("fedgen:as-released=true", DIRICHLET, {10: 84.54}),
    ("fedproto", DIRICHLET, {10: 83.68, 20: 86.43}),
    ("fedproto", PATHOLOGICAL, {10: 95.45}),
    ("fedgh", DIRICHLET, {10: 82.92}),
    ("fedtgp", DIRICHLET, {10: 84.92}),
    ("feddistill", DIRICHLET, {10: None}),
    ("fedkd", DIRICHLET, {10: 83.62}),
    ("fml", DIRICHLET, {10: 78.86}),
    ("fedmrl:as-released=true", DIRICHLET, {10: 81.41}),
    ("fedktl:as-released=true", DIRICHLET, {10: 91.35, 20: 92.05}),
    ("fedktl:as-released=true", PATHOLOGICAL, {10: 95.95}),
    ("fedmoe", DIRICHLET, {10: 82.49, 20: 86.92}),
    ("fedmoe", PATHOLOGICAL, {10: 87.75}),
]


# Where single runs spread by more than the reference's standard error: seeds 1 to so many, if --seeds does not say otherwise.
MORE = {
    ("fedavg", DIRICHLET): 16,
    ("fedavg", PATHOLOGICAL): 8,
    ("fedrep", DIRICHLET): 8,
    ("fedrep", PATHOLOGICAL): 18,
    ("per-fedavg", DIRICHLET): 8,
    ("per-fedavg", PATHOLOGICAL): 8,
}
USUAL = "1,2,3"


# With both heads; those that are always with one have it here.
HEADS = {
    "local": None,
    "fedavg": None,
    "fedrep": None,
    "per-fedavg": None,
    "ditto": None,
    "fedamp": None,
    "mocha": None,
    "pfedhn": None,
    "lg-fedavg": None,
    "fedproto": None,
    "fedproto:head=etf,answer=head": "etf",
    "fedgh": None,
    "fedtgp": None,
    "fedgen": None,
    "feddistill": None,
    "fedkd": None,
    "fml": None,
    "fedmrl": None,
    "fedmoe": None,
    "moe-local": None,
    "fedktl": "etf",
    "moe-ktl": "etf",
}


def run(arguments, method, partition, rounds, seeds):
    log = pathlib.Path(arguments.logs) / f"{method}@{partition}.log"
    if not log.exists():
        command = [arguments.loop, "--data", arguments.data, "--method", method, "--rounds", str(rounds), "--every", "2"]
        command += ["--partition", f"{arguments.partitions}/{partition}.json", "--seeds", seeds]
        command += [] if method.split(":")[0] in SHUFFLED else ["--no-shuffle"]
        command += ["--generator", arguments.generator] if method.split(":")[0] in ("fedktl", "moe-ktl") else []
        partial = log.with_suffix(".partial")
        with open(partial, "w", encoding="utf-8") as file:
            subprocess.run(command, stdout=file, check=True)
        partial.rename(log)
    accuracy = {}
    for match in filter(None, map(LINE.match, log.read_text(encoding="utf-8").splitlines())):
        accuracy.setdefault(int(match[2]), {})[match[1]] = float(match[3])
    return accuracy


def shown(by_seed):
    if not by_seed:
        return "-"
    values = list(by_seed.values())
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread} ({len(values)})"


def heads(arguments):
    """Both heads at 10 rounds, and the difference of runs with one seed."""
    print("| method | linear head | the flagship's | difference |")
    print("| --- | ---: | ---: | ---: |")
    seeds = arguments.seeds or USUAL
    for method, only in HEADS.items():
        if arguments.methods and method.split(":")[0] not in arguments.methods:
            continue
        found = {}
        for head in ("linear", "etf"):
            if only in (None, head):
                named = method if only == head or head == "linear" else f"{method}{',' if ':' in method else ':'}head=etf"
                by_seed = run(arguments, named, DIRICHLET, 10, seeds)[10]
                found[head] = {seed: x for seed, x in by_seed.items() if seed in seeds.split(",")}
        pairs = [found["etf"][seed] - x for seed, x in found["linear"].items()] if len(found) == 2 else []
        off = f"{statistics.mean(pairs):+.2f} ± {statistics.stdev(pairs):.2f}" if len(pairs) > 1 else "-"
        print(f"| `{method}` | {shown(found.get('linear'))} | {shown(found.get('etf'))} | {off} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--loop", "--data", "--partitions", "--logs"):
        parser.add_argument(name, required=True)
    parser.add_argument("--seeds", help=f"for every row; absent, {USUAL}, and more where runs spread more")
    parser.add_argument("--generator", default="digits", help="the host's; the reference had fedktl_generator_mnist_vae.npz")
    parser.add_argument("--heads", action="store_true", help="both heads side by side")
    parser.add_argument("methods", nargs="*", help="only these")
    arguments = parser.parse_args()
    pathlib.Path(arguments.logs).mkdir(parents=True, exist_ok=True)
    if arguments.heads:
        return heads(arguments)
    print("| method | partition | 10 rounds | reference | difference | 20 rounds | reference | difference |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for method, partition, reference in RUNS:
        if arguments.methods and method.split(":")[0] not in arguments.methods:
            continue
        many = ",".join(str(seed + 1) for seed in range(MORE.get((method, partition), 0)))
        found = run(arguments, method, partition, max(reference), arguments.seeds or many or USUAL)
        cells = [f"`{method}`", "Dirichlet 0.1" if partition == DIRICHLET else "2 classes"]
        for number in (10, 20):
            ours = found.get(number, {})
            theirs = reference.get(number)
            off = f"{statistics.mean(ours.values()) - theirs:+.2f}" if ours and theirs else "-"
            cells += [shown(ours), f"{theirs:.2f}" if theirs else "-", off]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
