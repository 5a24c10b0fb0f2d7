"""Tables of runs of the reference loop (learning/examples/loop.rs), in Markdown.

    python3 scripts/loop_table.py --at 10,20,60 --reach 75 --against moe-ktl moe-ktl A.log fedmoe B.log ...

Each file is what the loop printed for several seeds of one method. First table: mean and standard deviation over the seeds at the
rounds asked for, and the median of the first evaluated rounds with at least the accuracy asked for. Second table: the method
named by --against minus each other one, paired by seed, with 95 % intervals (Student t).
"""

import argparse
import re
import statistics

LINE = re.compile(r"^seed (\d+) round +(\d+) accuracy +([\d.]+) gate")
# Two-sided 95 % factors of Student's t by degrees of freedom (any printed table).
T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def read(path):
    """accuracy[seed][round], in per cent."""
    found = {}
    with open(path, encoding="utf-8") as file:
        for match in filter(None, map(LINE.match, file)):
            seed, number, accuracy = match.groups()
            found.setdefault(int(seed), {})[int(number)] = float(accuracy)
    if not found:
        raise SystemExit(f"{path}: no line of the loop in it")
    return found


def spread(values):
    return statistics.stdev(values) if len(values) > 1 else 0.0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at", default="10,20,60", help="rounds")
    parser.add_argument("--reach", type=float, help="accuracy in per cent")
    parser.add_argument("--against", help="the run that others are subtracted from")
    parser.add_argument("runs", nargs="+", metavar="NAME FILE")
    args = parser.parse_args()
    rounds = [int(r) for r in args.at.split(",")]
    runs = {name: read(path) for name, path in zip(args.runs[::2], args.runs[1::2], strict=True)}
    if args.against and args.against not in runs:
        raise SystemExit(f"--against {args.against}: no such run; there are {', '.join(runs)}")

    reach = [f"rounds to {args.reach:g} %"] if args.reach else []
    print("| method | " + " | ".join([f"at {r}" for r in rounds] + reach) + " |")
    print("| --- |" + " ---: |" * (len(rounds) + len(reach)))
    for name, seeds in runs.items():
        cells = []
        for number in rounds:
            values = [curve[number] for curve in seeds.values()]
            cells.append(f"{statistics.mean(values):.2f} ± {spread(values):.2f}")
        if args.reach:
            never = float("inf")
            first = [min((r for r, a in c.items() if a >= args.reach), default=never) for c in seeds.values()]
            middle = statistics.median(first)
            cells.append("not reached" if middle == never else f"{middle:g}")
        print(f"| {name} | " + " | ".join(cells) + " |")

    if args.against:
        ours = runs[args.against]
        print(f"\n| {args.against} minus | " + " | ".join(f"at {r}" for r in rounds) + " |")
        print("| --- |" + " ---: |" * len(rounds))
        for name, seeds in runs.items():
            common = sorted(set(ours) & set(seeds))
            if name == args.against or not common:
                continue
            cells = []
            for number in rounds:
                differences = [ours[s][number] - seeds[s][number] for s in common]
                mean = statistics.mean(differences)
                if len(common) < 2:
                    cells.append(f"{mean:+.2f}")
                    continue
                half = T[len(common) - 1] * spread(differences) / len(common) ** 0.5
                text = f"{mean:+.2f} ({mean - half:+.2f} to {mean + half:+.2f})"
                cells.append(f"**{text}**" if abs(mean) > half else text)
            print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
