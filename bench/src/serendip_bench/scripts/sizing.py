"""How much a shop needs, by straight lines through what measured shops were measured to need.

Usage: python -m serendip_bench.scripts.sizing --items 100000000 --events 1000000000
    --requests 10000 [--core-hour .05] [--gib-hour .005] [--used .5] [--events-per-request 1]

It is arithmetic and no measurement: beyond the largest shop it assumes that nothing bends. Sources
of the figures: ``docs/results/scale.md``, whose section Sizing says how far the lines are from
what was measured. Prints one JSON document; ``break_points`` are numbers of items, of shops with as
many events per item as the given one.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Shop:
    """A size of catalogue and log."""

    items: float
    events: float


EMPTY, S, L = Shop(0, 0), Shop(1e5, 2e6), Shop(1e6, 1e7)
"""No shop, where only starting a process costs something, and the two shops that were measured."""

GROWTH = Shop(1e5, 1e6)
"""The middle point of the growth that was measured."""


@dataclass(frozen=True, slots=True)
class Line:
    """Something that grows with items and events: ``fixed + item * items + event * events``."""

    fixed: float
    item: float
    event: float

    @classmethod
    def through(cls, values: Mapping[Shop, float]) -> Line:
        """The line through the values of three shops, or of two: then nothing is by event."""
        count = len(values)
        rows = [(1.0, shop.items, shop.events)[:count] for shop in values]
        found = np.linalg.solve(rows, list(values.values()))  # (count, count), (count,)
        fixed, item, event = [float(value) for value in found] + [0.0] * (3 - count)
        return cls(fixed, item, event)

    def at(self, shop: Shop) -> float:
        """The value of a shop."""
        return self.fixed + self.item * shop.items + self.event * shop.events

    def find_items(self, value: float, events_per_item: float) -> float:
        """The number of items at which a value is reached."""
        return (value - self.fixed) / (self.item + self.event * events_per_item)

    def __add__(self, other: Line) -> Line:
        """What both need together."""
        return Line(self.fixed + other.fixed, self.item + other.item, self.event + other.event)


_TEXTS = Line(0.0, 76 / 1e5, 0.0)
_PASSES = Line(0.0, 0.0, (483 + 217) / 2e6)
_STAGES = Line.through({S: 21.1 * 60 - _TEXTS.at(S) - _PASSES.at(S), L: 34.7 * 60 - 110})
_IMPORT = Line.through({EMPTY: 1.0, S: 5.4, L: 38.4})
_GENERATION = Line.through({S: 4_245 * 1e5, L: 3_246 * 1e6})
_TRAINING = Line.through({GROWTH: 1_951e6, S: 2_348e6, L: 9_361e6})
_REQUEST = Line.through({S: 7.5e-3, L: 18.0e-3})


@dataclass(frozen=True, slots=True)
class Slopes:
    """What was measured, in CPU-seconds and bytes.

    Args:
        import_s: of ``serendip init``, of which one starts the process: S at f3b8da9, L at fe94f3e.
        log_bytes: of the event log on disk, by event: L at fe94f3e.
        database_bytes: of the database on disk, by item: L at fe94f3e.
        generation_bytes: of a generation on disk: S at 808e945, L at d2aa92d with 120 targets of an
            item instead of 200.
        text_s: the default encoder: S at 34b38c4.
        passes_s: of the retriever, on the older and on all events: S at 34b38c4. None was made at
            L.
        stages_s: the rest of a training: both at 3ef1f80; 110 are the hashed texts of L, whose
            ranker had few of its rows.
        clock: hours of the clock of a training by CPU-hours, texts in both: S at 6b07b87.
        training_bytes: memory of a training in all its processes: S and L at 3ef1f80, the growth
            point at 07440372.
        request_s: of a request, reasons on, the mean of four kinds: both at 35a505fd.
        write_s: of an acknowledged event in batches of 100, writer and database, at f3b99b20.
    """

    import_s: Line = _IMPORT
    log_bytes: float = 332e6 / 1e7
    database_bytes: float = 155e6 / 1e6
    generation_bytes: Line = _GENERATION
    text_s: Line = _TEXTS
    passes_s: Line = _PASSES
    stages_s: Line = _STAGES
    clock: float = 20.0 / 19.5
    training_bytes: Line = _TRAINING
    request_s: Line = _REQUEST
    write_s: float = 5.5e-3 / 100

    @property
    def training_s(self) -> Line:
        """A training without the texts."""
        return self.stages_s + self.passes_s


@dataclass(frozen=True, slots=True)
class MachinePrices:
    """What is paid.

    Args:
        core_hour: a core for an hour.
        gib_hour: a GiB of memory for an hour, above 4 GiB a core.
        used: share of the cores of a service that is used.
        events_per_request: that come back to the service.
    """

    core_hour: float = 0.05
    gib_hour: float = 0.005
    used: float = 0.5
    events_per_request: float = 1.0


def find_needs(
    shop: Shop, requests: float, slopes: Slopes, prices: MachinePrices
) -> dict[str, float]:
    """What a shop needs, ``requests`` per second.

    Hours ``_h`` are CPU-hours, but ``clock_h``: of a training on one machine of two cores, texts
    included, whose memory is ``training_gib``. ``disk_gib``: log, database and one generation.
    Prices are those of one training, texts included, and of an hour of the service.
    """
    text_s, training_s = slopes.text_s.at(shop), slopes.training_s.at(shop)
    clock_h = slopes.clock * (text_s + training_s) / 3_600
    training_gib = slopes.training_bytes.at(shop) / 2**30
    disk = slopes.database_bytes * shop.items + slopes.log_bytes * shop.events
    request_s = slopes.request_s.at(shop)
    cores = requests * request_s / prices.used
    writing = requests * prices.events_per_request * slopes.write_s / prices.used
    machine = 2 * prices.core_hour + max(0.0, training_gib - 8) * prices.gib_hour
    return {
        "import_h": slopes.import_s.at(shop) / 3_600,
        "text_h": text_s / 3_600,
        "training_h": training_s / 3_600,
        "clock_h": clock_h,
        "training_gib": training_gib,
        "disk_gib": (disk + slopes.generation_bytes.at(shop)) / 2**30,
        "request_ms": request_s * 1e3,
        "serving_cores": cores,
        "writing_cores": writing,
        "training_price": clock_h * machine,
        "serving_price": (cores + writing) * prices.core_hour,
    }


def find_break_points(events_per_item: float, slopes: Slopes) -> dict[str, float]:
    """Numbers of items at which a request takes 100 CPU-ms, and a training 64 GiB and a day."""
    training_s = slopes.text_s + slopes.training_s
    return {
        "request": slopes.request_s.find_items(0.1, events_per_item),
        "memory": slopes.training_bytes.find_items(64 * 2**30, events_per_item),
        "training": training_s.find_items(24 * 3_600 / slopes.clock, events_per_item),
    }


def main() -> None:
    """Read the command line and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=float, required=True)
    parser.add_argument("--events", type=float, required=True)
    parser.add_argument("--requests", type=float, required=True, help="per second")
    for name, value in asdict(MachinePrices()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=value)
    given = vars(parser.parse_args())
    shop, requests = Shop(given.pop("items"), given.pop("events")), given.pop("requests")
    slopes = Slopes()
    document = {
        "needs": find_needs(shop, requests, slopes, MachinePrices(**given)),
        "break_points": find_break_points(shop.events / shop.items, slopes),
        "prices": given,
        "slopes": asdict(slopes),
    }
    print(json.dumps(document))


if __name__ == "__main__":
    main()
