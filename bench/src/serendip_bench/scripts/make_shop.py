"""Write a synthetic shop of any size, for measurements of speed and memory only.

Usage: python -m serendip_bench.scripts.make_shop SHOP_DIR [--items N] [--users N] [--events N]
[--seed N]

Writes ``items.parquet`` (``sku``, ``name``, ``department``, ``price``) and ``events.parquet``
(``customer``, ``sku``, ``when``, ``action``) with the columns that a shop's own export might have.
Departments and the items in them have a popularity that falls as a power of their rank; a customer
visits a few departments and often goes on to an item of a near rank.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

_BEGIN, _DAYS = 1_700_000_000, 90
_DEPARTMENTS_PER_CUSTOMER = 4
_STEP_SHARE = 0.4
"""Share of the events that go on from the customer's event before."""

_PURCHASE_SHARE = 0.1
_WORDS_PER_DEPARTMENT = 12


@dataclass(frozen=True, slots=True)
class ShopSize:
    """Size of a shop."""

    items: int = 100_000
    users: int = 50_000
    events: int = 2_000_000
    seed: int = 0


def write_shop(folder: Path, size: ShopSize) -> None:
    """Write the two files of a shop into a folder, which is created."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(size.seed)
    num_departments = max(20, int(np.sqrt(size.items) / 2))
    popularity = 1 / np.sqrt(np.arange(1, num_departments + 1))
    departments = np.sort(
        rng.choice(num_departments, size.items, p=popularity / popularity.sum())
    )  # (N,)
    skus = np.char.add("sku-", np.char.zfill(np.arange(size.items).astype(str), 8))
    items = pa.table({"sku": skus, **_describe(departments, num_departments, rng)})
    pq.write_table(items, folder / "items.parquet")
    pq.write_table(_log(departments, num_departments, skus, size, rng), folder / "events.parquet")


def _describe(
    departments: NDArray[np.int64], num_departments: int, rng: np.random.Generator
) -> dict[str, pa.Array]:
    count = len(departments)
    brands, styles = _words(max(50, count // 200), rng), _words(400, rng)
    nouns = _words(num_departments, rng)
    kinds = _words(num_departments * _WORDS_PER_DEPARTMENT, rng).reshape(num_departments, -1)
    parts = (
        brands[rng.integers(0, len(brands), count)],
        styles[rng.integers(0, len(styles), count)],
        kinds[departments, rng.integers(0, _WORDS_PER_DEPARTMENT, count)],
        nouns[departments],
        rng.integers(1, 10_000, count).astype(str),
    )
    names = [" ".join(words) for words in zip(*parts, strict=True)]
    price = np.round(np.exp(rng.normal(3, 1, count)), 2)
    return {
        "name": pa.array(names),
        "department": pa.array(nouns[departments].tolist()),
        "price": pa.array(price),
    }


def _words(count: int, rng: np.random.Generator) -> NDArray[np.str_]:
    """(count,) random words of three syllables."""
    syllables = np.array([first + second for first in "bdfgklmnprstvz" for second in "aeiou"])
    parts = syllables[rng.integers(0, len(syllables), (3, count))]
    return np.char.add(np.char.add(parts[0], parts[1]), parts[2])


def _log(
    departments: NDArray[np.int64],
    num_departments: int,
    skus: NDArray[np.str_],
    size: ShopSize,
    rng: np.random.Generator,
) -> pa.Table:
    """Events in order of time."""
    begins = np.searchsorted(departments, np.arange(num_departments))
    sizes = np.bincount(departments, minlength=num_departments)
    # A few customers have many events: u = U r^1.5 for r uniform in [0, 1).
    users = np.sort((size.users * rng.random(size.events) ** 1.5).astype(np.int64))  # (E,)
    favourites = rng.integers(0, num_departments, (size.users, _DEPARTMENTS_PER_CUSTOMER))
    visited = favourites[users, rng.integers(0, _DEPARTMENTS_PER_CUSTOMER, size.events)]
    ranks = (sizes[visited] * rng.random(size.events) ** 3).astype(np.int64)
    goes_on = rng.random(size.events) < _STEP_SHARE
    goes_on[1:] &= visited[1:] == visited[:-1]
    goes_on[:1] = False
    near = np.roll(ranks, 1) + rng.integers(1, 4, size.events)
    ranks = np.where(goes_on, near, ranks)
    items = begins[visited] + np.clip(ranks, 0, np.maximum(sizes[visited] - 1, 0))
    items = np.minimum(items, size.items - 1)  # the last departments of a tiny shop are empty
    times = _BEGIN + rng.integers(0, _DAYS * 86_400, size.events)
    order = np.argsort(times, kind="stable")
    actions = np.where(rng.random(size.events) < _PURCHASE_SHARE, "purchase", "view")
    return pa.table(
        {
            "customer": np.char.add("u", users[order].astype(str)),
            "sku": skus[items[order]],
            "when": times[order],
            "action": actions[order],
        }
    )


def main() -> None:
    """Parse the options and write the shop."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    for name, default in (("items", 100_000), ("users", 50_000), ("events", 2_000_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    write_shop(options.folder, ShopSize(options.items, options.users, options.events, options.seed))
    print(
        f"{options.folder}: {options.items:,} items, {options.users:,} users, "
        f"{options.events:,} events"
    )


if __name__ == "__main__":
    main()
