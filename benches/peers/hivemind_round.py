"""Rounds of averaging by hivemind without training: peers that find each other by its DHT, each with processes of its own.

    python hivemind_round.py --nodes 4 --parameters 100 --rounds 30

Every peer holds one vector; a round ends when all hold the mean. Groups have as many members as there are peers, so that matchmaking
need not wait for more. Prints one JSON object: seconds from the beginning to the first round's end, and of each further round
milliseconds and processor milliseconds of all processes.
"""

import argparse
import time

BEGAN = time.perf_counter()

import hivemind
import torch

from process_time import adopt, mark, tell


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--parameters", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--matchmaking", type=float, default=1.0, help="seconds that a group waits for more members at most")
    a = parser.parse_args()
    adopt()
    local = {"host_maddrs": ["/ip4/127.0.0.1/tcp/0"], "start": True}
    first = hivemind.DHT(**local)
    tables = [first] + [hivemind.DHT(initial_peers=first.get_visible_maddrs(), **local) for _ in range(a.nodes - 1)]
    averagers = [
        hivemind.averaging.DecentralizedAverager(
            [torch.full((a.parameters,), float(index))],
            dht=table,
            prefix="bench",
            target_group_size=a.nodes,
            min_group_size=a.nodes,
            min_matchmaking_time=a.matchmaking,
            request_timeout=min(0.5, a.matchmaking / 2),
            start=True,
        )
        for index, table in enumerate(tables)
    ]
    marks, failed = [], 0
    while len(marks) < a.rounds + 1:
        steps = [averager.step(wait=False, timeout=30, allow_retries=True) for averager in averagers]
        done = [step.result() for step in steps]
        failed += any(gathered is None or len(gathered) != a.nodes for gathered in done)
        marks.append(mark())
    for averager, table in zip(averagers, tables):
        averager.shutdown()
        table.shutdown()
    tell(BEGAN, marks, rounds_not_of_all=failed)


if __name__ == "__main__":
    main()
