"""What the comparisons share: a throw-away Python environment with what we compare with, and how figures are shown."""

import contextlib
import pathlib
import statistics
import subprocess
import sys
import tempfile

PYTORCH = ["torch==2.5.1", "numpy"]


@contextlib.contextmanager
def python_with(packages, given=None):
    """The interpreter that was given, or one of a new environment with these packages from PyPI, which is gone afterwards."""
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        print(f"installing {' '.join(packages)} from PyPI; --python names an interpreter that has them", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = str(pathlib.Path(folder, "bin", "python"))
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        yield python


def spread(values):
    """The median, in brackets the quartiles."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.1f} ({low:.1f}-{high:.1f})"
