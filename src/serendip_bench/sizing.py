"""How much a shop needs, by straight lines through what two shops were measured to need.

A line through two sizes of shop says what an item and what an event adds. It is arithmetic and no
measurement: beyond the larger shop it assumes that nothing bends, and says so by how far it goes.
Sources of the figures: ``docs/results/scale.md``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shop:
    """A size.

    Args:
        items: of the catalogue.
        events: of the log.
    """

    items: float
    events: float


S, L = Shop(1e5, 2e6), Shop(1e6, 1e7)
"""The shops that were measured."""


@dataclass(frozen=True, slots=True)
class Line:
    """Something that grows with items and events: ``fixed + item * items + event * events``.

    Args:
        fixed: of any shop.
        item: added by an item.
        event: added by an event.
    """

    fixed: float
    item: float
    event: float

    @classmethod
    def through(cls, at_s: float, at_l: float, fixed: float) -> Line:
        """The line through the values of shops S and L above a fixed part."""
        first, second = at_s - fixed, at_l - fixed
        determinant = S.items * L.events - L.items * S.events
        item = (first * L.events - second * S.events) / determinant
        event = (second * S.items - first * L.items) / determinant
        return cls(fixed, item, event)

    def at(self, shop: Shop) -> float:
        """The value of a shop."""
        return self.fixed + self.item * shop.items + self.event * shop.events


IMPORT = Line.through(5.4, 38.4, 1.0)
"""CPU-seconds of ``serendip init``, of which one starts the process."""


@dataclass(frozen=True, slots=True)
class Slopes:
    """What was measured, in CPU-seconds and bytes; the defaults are those of the results page.

    Args:
        import_s: of ``serendip init``.
        log_bytes: of the event log on disk, by event.
        database_bytes: of the database on disk, by item.
        generation_bytes: of a generation on disk, by item.
        text_s: the default encoder, by item.
        item_stages_s: all stages of a training but the passes of the retriever, by item.
        retriever_s: passes of the retriever, by event.
        training_bytes: memory of a training in all its processes, by item.
        request_s: of a request, fixed and by item of the catalogue.
        write_s: of an acknowledged event, service and database.
    """

    import_s: Line = IMPORT
    log_bytes: float = 333e6 / 1e7
    database_bytes: float = 155.0
    generation_bytes: float = 3_400.0
    text_s: float = 76 / 1e5
    item_stages_s: float = 34.7 * 60 / 1e6
    retriever_s: float = (483 + 217) / 2e6
    training_bytes: float = (9_361e6 - 2_348e6) / 0.9e6
    request_s: tuple[float, float] = (6.3e-3, (18.0e-3 - 7.5e-3) / 0.9e6)
    write_s: float = 5.5e-3 / 100


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


@dataclass(frozen=True, slots=True)
class Needs:
    """What a shop needs.

    Args:
        import_h: CPU-hours of an import.
        text_h: CPU-hours of the vectors of texts, in tasks on any number of machines.
        training_h: CPU-hours of the rest of a training, in two processes on one machine.
        training_gib: memory of that machine.
        disk_gib: log, database and one generation.
        request_ms: CPU-milliseconds of a request.
        serving_cores: of the service.
        writing_cores: for its events.
        training_price: of one training.
        serving_price: of one hour.
    """

    import_h: float
    text_h: float
    training_h: float
    training_gib: float
    disk_gib: float
    request_ms: float
    serving_cores: float
    writing_cores: float
    training_price: float
    serving_price: float


def find_needs(shop: Shop, requests: float, slopes: Slopes, prices: MachinePrices) -> Needs:
    """The arithmetic.

    Args:
        shop: its size.
        requests: per second.
        slopes: measured.
        prices: paid.
    """
    text_h = slopes.text_s * shop.items / 3_600
    training_s = slopes.item_stages_s * shop.items + slopes.retriever_s * shop.events
    training_gib = slopes.training_bytes * shop.items / 2**30
    per_item = slopes.database_bytes + slopes.generation_bytes
    request_s = slopes.request_s[0] + slopes.request_s[1] * shop.items
    cores = requests * request_s / prices.used
    writing = requests * prices.events_per_request * slopes.write_s / prices.used
    hours = training_s / 2 / 3_600  # of the clock
    machine = 2 * prices.core_hour + max(0.0, training_gib - 8) * prices.gib_hour
    return Needs(
        import_h=slopes.import_s.at(shop) / 3_600,
        text_h=text_h,
        training_h=training_s / 3_600,
        training_gib=training_gib,
        disk_gib=(per_item * shop.items + slopes.log_bytes * shop.events) / 2**30,
        request_ms=request_s * 1e3,
        serving_cores=cores,
        writing_cores=writing,
        training_price=text_h * prices.core_hour + hours * machine,
        serving_price=(cores + writing) * prices.core_hour,
    )
