"""When rounds of a process and all that it started end, and what they take of the processors. Linux only."""

import ctypes
import json
import os
import time

PR_SET_CHILD_SUBREAPER = 36


def adopt():
    """Makes this process the parent of all that descends from it and loses its own, as Ray's daemons do."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _fields(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        # The name, in brackets, may have blanks in it.
        return file.read().rpartition(")")[2].split()


def tree_seconds(root):
    """Processor seconds of a process and of its children and theirs, those included that have ended and were waited for."""
    children = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = _fields(name)
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append((int(name), sum(map(int, fields[11:15]))))
    ticks, found = sum(map(int, _fields(root)[11:15])), list(children.get(root, []))
    while found:
        pid, own = found.pop()
        ticks += own
        found += children.get(pid, [])
    return ticks / os.sysconf("SC_CLK_TCK")


def mark():
    """Now, and the processor seconds of this process and its own until now."""
    return time.perf_counter(), tree_seconds(os.getpid())


def tell(began, marks, **more):
    """Prints one JSON object from the marks at the ends of rounds: seconds to the first, milliseconds and processor milliseconds of the others."""
    steps = list(zip(marks, marks[1:]))
    figures = {
        "start_s": marks[0][0] - began,
        "round_ms": [(end[0] - begin[0]) * 1e3 for begin, end in steps],
        "cpu_ms": (marks[-1][1] - marks[0][1]) * 1e3 / len(steps),
    }
    print(json.dumps(figures | more))
