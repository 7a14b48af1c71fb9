"""Sales of Online Retail as the files of a shop that begins with Serendip.

    python -m serendip_bench.scripts.retail_files FOLDER OUT [--customers 1000]

FOLDER has ``online_retail.parquet``. OUT gets ``items.csv`` of all products and ``events.csv`` of
the sales to so many customers, drawn at random, or to all: what `serendip init` reads.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from serendip_bench.datasets.retail import read_retail, write_retail_files


def main() -> None:
    """Parse and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--customers", type=int, default=0, help="0 = all")
    options = parser.parse_args()
    dataset = read_retail(options.folder)
    kept = np.ones(dataset.num_users, np.bool_)
    if options.customers:
        kept[np.random.default_rng(0).permutation(dataset.num_users)[options.customers :]] = False
    options.out.mkdir(parents=True, exist_ok=True)
    write_retail_files(dataset, kept, options.out)


if __name__ == "__main__":
    main()
