"""How import, training, memory and requests grow with the catalogue and with users' pasts (Linux).

Usage: python -m serendip_bench.scripts.growth FOLDER [--points 10k-items ...] [--plot FILE.svg]

Makes a synthetic shop for each point, imports and trains it, and answers requests. Hashed text
vectors; a training has at most 30 minutes of the clock. A point that FOLDER has a result of is not
measured again, so an interrupted run goes on where it stopped. Prints a table; ``--plot`` also
draws it, both axes logarithmic (needs ``serendip[bench]``).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serendip_bench.scripts import request_cost
from serendip_bench.scripts.make_shop import ShopSize, write_shop
from serendip_bench.scripts.train_shop import measure_shop

_ENCODER, _BUDGET, _REQUESTS = "hashing", "30m", 100
_EVENTS_PER_ITEM = 10
_LONG_PASTS = 1_000_000
"""Events of a shop whose users' pasts grow: fewer users, each with more of them."""


@dataclass(frozen=True, slots=True)
class Point:
    """One shop of a series.

    Args:
        series: what grows.
        value: of what grows.
        size: of the shop.
    """

    series: str
    value: int
    size: ShopSize

    @property
    def name(self) -> str:
        """Short name, for the command line and files."""
        return f"{self.value}-{self.series.split()[0]}"


POINTS = (
    *(
        Point("items", items, ShopSize(items, items // 2, _EVENTS_PER_ITEM * items))
        for items in (10_000, 100_000, 1_000_000)
    ),
    *(
        Point("events per user", each, ShopSize(10_000, _LONG_PASTS // each, _LONG_PASTS))
        for each in (10, 1_000, 100_000)
    ),
)

MEASURES: dict[str, Callable[[dict[str, Any]], float]] = {
    "import, CPU-s": lambda result: 60 * result["init"]["cpu_min"],
    "training, CPU-s": lambda result: 60 * result["train"]["cpu_min"],
    "peak of the training, MB": lambda result: result["train"]["peak_mb"],
    "a request, CPU-ms": lambda result: result["requests"]["with reasons"]["mean"],
}
"""Label -> figure of a result."""


def measure_point(point: Point, folder: Path) -> dict[str, Any]:
    """Make the shop of a point, import and train it, answer requests."""
    shop, workspace = folder / "shop", folder / "workspace"
    write_shop(shop, point.size)
    result = measure_shop(shop, workspace, _BUDGET, _ENCODER)
    script = request_cost.__file__
    command = [sys.executable, script, str(workspace), "--requests", str(_REQUESTS)]
    requests = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    return {**result, "point": point.name, "requests": json.loads(requests)}


def print_table(results: dict[str, dict[str, Any]]) -> None:
    """Print a row per point."""
    print(f"{'':<24}" + "".join(f"{label:>26}" for label in MEASURES))
    for name, result in results.items():
        figures = (f"{measure(result):26,.1f}" for measure in MEASURES.values())
        print(f"{name:<24}" + "".join(figures))


def draw(results: dict[str, dict[str, Any]], file: Path) -> None:
    """Draw a panel per series and measure."""
    import matplotlib.pyplot as plt

    series = list(dict.fromkeys(point.series for point in POINTS))
    figure, panels = plt.subplots(len(series), len(MEASURES), figsize=(13, 3 * len(series)))
    for row, name in zip(panels, series, strict=True):
        points = [point for point in POINTS if point.series == name and point.name in results]
        values = [point.value for point in points]
        for panel, (label, measure) in zip(row, MEASURES.items(), strict=True):
            panel.loglog(values, [measure(results[point.name]) for point in points], "o-")
            panel.set(xlabel=name, title=label)
            panel.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(file)


def main() -> None:
    """Measure the points that have no result, then print and draw all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="Shops, workspaces and results.")
    names = [point.name for point in POINTS]
    parser.add_argument("--points", nargs="*", choices=names, default=names)
    parser.add_argument("--plot", type=Path, help="An SVG file to draw.")
    options = parser.parse_args()
    results = {}
    for point in POINTS:
        folder = options.folder / point.name
        file = folder / "result.json"
        if not file.exists() and point.name in options.points:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(measure_point(point, folder), indent=1), encoding="utf-8")
        if file.exists():
            results[point.name] = json.loads(file.read_text(encoding="utf-8"))
    print_table(results)
    if options.plot:
        draw(results, options.plot)


if __name__ == "__main__":
    main()
