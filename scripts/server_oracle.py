"""Golden values for what voters derive of updates (protocol/src/summary), computed by NumPy from the papers' formulas.

    python scripts/server_oracle.py fedamp

Inputs are those of the Rust tests. Prints arrays to paste.
"""

import sys

import numpy as np


def fedamp():
    """Equation 6 of arXiv 2007.03797: alpha 0.25, sigma 2."""
    models = np.array([[0.5, -1.0, 2.0], [0.75, -1.25, 1.5], [-3.0, 0.0, 1.0]])
    alpha, sigma = 0.25, 2.0
    squared = ((models[:, None] - models[None]) ** 2).sum(2)
    shares = alpha / sigma * np.exp(-squared / sigma)
    np.fill_diagonal(shares, 0)
    rows = (1 - shares.sum(1))[:, None] * models + shares @ models
    for row in rows:
        print("[" + ", ".join(f"{x:.9f}" for x in row) + "],")


if __name__ == "__main__":
    {"fedamp": fedamp}[sys.argv[1]]()
