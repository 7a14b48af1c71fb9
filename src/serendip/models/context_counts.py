"""How much more an item is chosen in one context than in others: country, device, hour, weekday.

For each value of a field (a country, an hour), interactions are counted per item. The fit of an
item is the logarithm of its share of choices in that context against the share of all items there:
0 = as everywhere, above 0 = particular to the context. Shares of few events are shrunk: an item's
towards that of its category, which is the first code of its semantic ID, and the category's towards
that of all items. So a new item has the fit of its category.

Only items that are asked for are looked up: nothing has the length of the catalogue per request.

Shapes: V values, N items, E events, G categories, C candidates, P pairs of value and item.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from serendip.config import Config, Use
from serendip.data import Artefact, Catalogue, Dataset, FloatArray, IntArray, Query, locate
from serendip.data.events.local_time import is_zone, local_hours, zone_of
from serendip.data.item_list import tie_order
from serendip.data.items.semantic_ids import first_codes

ContextField = Literal["country", "device", "hour", "weekday"]
FIELDS: tuple[ContextField, ...] = get_args(ContextField)
ContextPart = Literal[
    "country", "device", "hour", "weekday", "session", "category", "price", "age", "user"
]
PARTS: tuple[ContextPart, ...] = get_args(ContextPart)

OF_USER = "user "
"""Begins the name of a field of ``fields`` that is an attribute of users."""

ITEM_COUNTRIES = "item countries"
"""Items have an attribute with countries, which belongs to the part ``country``."""

PRIOR_EVENTS = 10.0
"""Pseudo-count of events with the share of the wider group."""

MOST_VALUES = 256
"""Values of a field that are counted, those with most events; others count as unknown."""

MOST_PROPOSED = 1_000
"""Items that are kept, in order, as the most popular ones of a value."""

MIN_SHARE = 0.01
"""A field is used if at least two values have this share of the events."""


class ContextConfig(Config):
    """``[context]``: what the ranker reads of the context of a request."""

    use: Use = "auto"
    """Whether the parts are read that ``parts`` does not name. ``auto``: the training tests each
    part on the newest events, and the ranker reads those that make its order better."""

    parts: dict[ContextPart, Use] = Field(default_factory=dict)
    """Part -> whether it is read, where the data have it: ``country``, ``device``, local ``hour``
    and ``weekday``, the ``session`` (the last half hour against the past before), the user's
    ``category`` and ``price`` level against the item's, ``age`` of the item, and the groups that
    the attributes of the ``user`` make, such as those with the same plan. Parts that are ``on`` are
    read without a test, and ``country`` also by the retriever and by the source
    ``popular-country``."""

    timezone: str = "UTC"
    """IANA time zone of hours and weekdays where ``timezones`` has none for the country."""

    timezones: dict[str, str] = Field(default_factory=dict)
    """Country, spelled as in events and requests -> its IANA time zone."""

    item_country: str = "country"
    """Attribute of items with a country or a list of countries."""

    price: str = "price"
    """Attribute of items with a number that is their price."""

    @property
    def wanted(self) -> tuple[ContextPart, ...]:
        """Parts that are counted where the data have them: named, or to choose from."""
        return tuple(part for part in PARTS if self.parts.get(part, self.use) != "off")

    @property
    def named(self) -> tuple[ContextPart, ...]:
        """Parts that are read without a test."""
        return tuple(part for part in PARTS if self.parts.get(part, self.use) == "on")

    @field_validator("timezone")
    @classmethod
    def _check_zone(cls, zone: str) -> str:
        if not is_zone(zone):
            raise ValueError(f"{zone!r} is not a time zone such as 'Europe/Berlin'")
        return zone

    @field_validator("timezones")
    @classmethod
    def _check_zones(cls, zones: dict[str, str]) -> dict[str, str]:
        for country, zone in zones.items():
            if not is_zone(zone):
                raise ValueError(f"{country}: {zone!r} is not a time zone such as 'Europe/Berlin'")
        return zones


@dataclass(frozen=True, slots=True, eq=False)
class FieldCounts(Artefact):
    """Interactions by value of one field, and by item.

    Args:
        starts: (V + 1,) int64 first pair of each value.
        items: (P,) int32 items of the pairs, ascending within a value.
        counts: (P,) int32 interactions of the pairs.
        totals: (N,) int32 interactions of each item with a known value.
        categories: (V, G) int32 interactions of each category with each value.
        category_totals: (G,) int64 interactions of each category.
        top: (V, K) int32 items of each value, most interactions first, padded with -1.
    """

    names: tuple[str, ...]
    starts: NDArray[np.int64]
    items: IntArray
    counts: IntArray
    totals: IntArray
    categories: IntArray
    category_totals: NDArray[np.int64]
    top: IntArray

    @classmethod
    def of(
        cls, values: IntArray, items: IntArray, names: Sequence[str], category_of: IntArray
    ) -> Self | None:
        """Count events (E,); None if fewer than two values have a share worth telling apart.

        Values (E,) are indices into ``names``, -1 = not known; categories (N,) of the items are
        from 0.
        """
        sizes = np.bincount(values[values >= 0], minlength=len(names))
        if (sizes >= max(MIN_SHARE * len(values), 1)).sum() < 2:
            return None
        kept = np.argsort(-sizes, kind="stable")[:MOST_VALUES]
        kept = kept[sizes[kept] > 0]
        numbers = np.full(len(names) + 1, -1, np.int64)  # the last one is that of an unknown value
        numbers[kept] = np.arange(len(kept))
        new = numbers[values]
        rows = np.flatnonzero(new >= 0)
        new, items = new[rows], items[rows]
        count, num_items = len(kept), len(category_of)
        pairs, counts = np.unique(new * num_items + items, return_counts=True)
        starts = np.searchsorted(pairs, np.arange(count + 1) * num_items)
        groups = int(category_of.max(initial=0)) + 1
        cells = np.bincount(new * groups + category_of[items], minlength=count * groups)
        cells = cells.reshape(count, groups)
        pair_items = (pairs % num_items).astype(np.int32)
        return cls(
            tuple(names[value] for value in kept.tolist()),
            starts,
            pair_items,
            counts.astype(np.int32),
            np.bincount(items, minlength=num_items).astype(np.int32),
            cells.astype(np.int32),
            cells.sum(0),
            _order(starts, pair_items, counts, num_items),
        )

    @classmethod
    def none(cls, num_items: int) -> Self:
        """Counts of N items without any value."""
        nothing = np.empty(0, np.int32)
        totals, of_values = np.zeros(num_items, np.int32), np.empty((0, 0), np.int32)
        starts, of_categories = np.zeros(1, np.int64), np.empty(0, np.int64)
        return cls((), starts, nothing, nothing, totals, of_values, of_categories, of_values)

    def number(self, name: str) -> int:
        """Number of a value; -1 = unknown."""
        return self.names.index(name) if name in self.names else -1

    def counts_of(self, value: int, items: IntArray) -> IntArray:
        """(C,) int32 interactions of items with a value."""
        begin, end = int(self.starts[value]), int(self.starts[value + 1])
        places, found = locate(self.items[begin:end], items)
        counts = np.zeros(len(items), np.int32)
        counts[found] = self.counts[begin:end][places[found]]
        return counts

    def top_of(self, value: int) -> IntArray:
        """(K,) int32 items with most interactions with a value, most first."""
        row: IntArray = self.top[value]
        return row[row >= 0]

    def fit_of(self, value: int, items: IntArray, category_of: IntArray) -> FloatArray:
        """How particular items (C,) are to a value: (C,) float32, 0 = as everywhere.

        Items that were added since the training have no interactions.
        """
        totals = np.zeros(len(items), np.int64)
        old = items < len(self.totals)
        totals[old] = self.totals[items[old]]
        share = self._share(value)
        of_category = np.zeros(len(items)), np.zeros(len(items))  # with the value, and all
        inside = category_of < self.categories.shape[1]
        of_category[0][inside] = self.categories[value, category_of[inside]]
        of_category[1][inside] = self.category_totals[category_of[inside]]
        prior = (of_category[0] + PRIOR_EVENTS * share) / (of_category[1] + PRIOR_EVENTS)
        own = (self.counts_of(value, items) + PRIOR_EVENTS * prior) / (totals + PRIOR_EVENTS)
        return np.log(own / share).astype(np.float32)

    def _share(self, value: int) -> float:
        return float(self.categories[value].sum() / self.category_totals.sum())


def _order(
    starts: NDArray[np.int64], items: IntArray, counts: NDArray[np.integer], num_items: int
) -> IntArray:
    """(V, K) the items of each value with most interactions, padded with -1."""
    ties = tie_order(num_items)
    lists = []
    for begin, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        part, size = items[begin:end], counts[begin:end]
        lists.append(part[np.lexsort((ties[part], -size))[:MOST_PROPOSED]])
    top = np.full((len(lists), max(map(len, lists))), -1, np.int32)
    for row, listed in enumerate(lists):
        top[row, : len(listed)] = listed
    return top


def part_of_field(name: str) -> str:
    """The part of the context that a field, or further part, belongs to."""
    if name.startswith(OF_USER):
        return "user"
    return "country" if name == ITEM_COUNTRIES else name


@dataclass(frozen=True, slots=True, eq=False)
class ContextCounts(Artefact):
    """What the ranker knows of contexts.

    Args:
        fields: the fields that the data have, or that the ranker has learned; those of users have
            ``OF_USER`` before the name of the attribute.
        parts: further parts of which that is true; ``ITEM_COUNTRIES`` = items have countries.
    """

    config: ContextConfig = field(default_factory=ContextConfig)
    fields: Mapping[str, FieldCounts] = field(default_factory=dict)
    parts: frozenset[str] = frozenset()

    @classmethod
    def of(cls, dataset: Dataset, codes: IntArray, config: ContextConfig) -> Self:
        """Count the interactions of a dataset whose items have semantic IDs (N, L)."""
        category_of = first_codes(codes)
        fields: dict[str, FieldCounts] = {}
        for name, (values, names) in _read_fields(dataset, config).items():
            counts = FieldCounts.of(values, dataset.events.items, names, category_of)
            if counts is not None:
                fields[name] = counts
        return cls(config, fields, _other_parts(dataset.catalogue, config))

    def with_parts(self, names: Set[str], num_items: int) -> Self:
        """Exactly these fields and parts; one that the data do not have knows no value."""
        nothing = FieldCounts.none(num_items)
        wanted = sorted(name for name in names if name in FIELDS or name.startswith(OF_USER))
        fields = {name: self.fields.get(name, nothing) for name in wanted}
        return replace(self, fields=fields, parts=frozenset(names - fields.keys()))

    def only(self, parts: Collection[str], num_items: int) -> Self:
        """Those of the fields and further parts, of N items, that belong to some parts."""
        names = {name for name in {*self.fields, *self.parts} if part_of_field(name) in parts}
        return self.with_parts(names, num_items)

    @property
    def present(self) -> tuple[ContextPart, ...]:
        """The parts that are read and that the data have."""
        has = set(map(part_of_field, {*self.fields, *self.parts}))
        return tuple(part for part in PARTS if part in has)

    def value(self, name: str, query: Query) -> int:
        """Number of the value of a field in a request; -1 = not known."""
        counts = self.fields[name]
        if name == "country":
            return counts.number(query.country)
        if name == "device":
            return counts.number(query.device)
        if name.startswith(OF_USER):
            return counts.number(query.user_groups.get(name.removeprefix(OF_USER), ""))
        if not np.isfinite(query.time):
            return -1
        zone = zone_of(query.country, self.config.timezones, self.config.timezone)
        hours, weekdays = local_hours(np.array([query.time]), zone)
        return counts.number(str(int(hours[0] if name == "hour" else weekdays[0])))


_Values = tuple[IntArray, Sequence[str]]


def _read_fields(dataset: Dataset, config: ContextConfig) -> dict[str, _Values]:
    events, fields, read = dataset.events, dict[str, _Values](), config.wanted
    countries = () if dataset.countries is None else dataset.countries.names
    if "country" in read and countries and events.countries is not None:
        fields["country"] = events.countries, countries
    if "device" in read and events.devices is not None:
        fields["device"] = events.devices, dataset.device_names
    if {"hour", "weekday"} & set(read) and len(events):
        hours, weekdays = _local_times(dataset, countries, config)
        if "hour" in read:
            fields["hour"] = hours, [str(hour) for hour in range(24)]
        if "weekday" in read:
            fields["weekday"] = weekdays, [str(day) for day in range(7)]
    if "user" in read:
        for name, groups in dataset.user_groups.items():
            fields[f"{OF_USER}{name}"] = groups.of_users[events.users], groups.names
    return fields


def _local_times(
    dataset: Dataset, countries: Sequence[str], config: ContextConfig
) -> tuple[IntArray, IntArray]:
    times, of_events = dataset.events.timestamps, dataset.events.countries
    hours, weekdays = local_hours(times, config.timezone)
    for number, country in enumerate(countries):
        zone = zone_of(country, config.timezones, config.timezone)
        if of_events is not None and zone != config.timezone:
            rows = np.flatnonzero(of_events == number)
            hours[rows], weekdays[rows] = local_hours(times[rows], zone)
    return hours, weekdays


def _other_parts(catalogue: Catalogue, config: ContextConfig) -> frozenset[str]:
    """The parts that are wanted, that need no counts, and that the data have."""
    read = config.wanted
    parts: set[str] = {"session", "category"} & set(read)
    if "price" in read and np.isfinite(catalogue.column(config.price).numbers).any():
        parts.add("price")
    if "age" in read and np.isfinite(catalogue.available_from).any():
        parts.add("age")
    if "country" in read and catalogue.values(config.item_country).has_value().any():
        parts.add(ITEM_COUNTRIES)
    return frozenset(parts)
