"""Queries that a catalogue itself suggests: values of its fields, rules over them, phrases.

A candidate knows the items that it was made from: what it has to find is known before anybody has
typed it.

Queries that people have searched, of which enough people did, and which are whole.

While somebody types, a page may search after every letter: "sta" and "star tr" are searches, but
no queries. A search is an *attempt* where nothing was chosen and the same person's next search,
within minutes, begins with it. A query is whole where attempts are less than half of its
searches; only people with a search that was none count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from string import Formatter
from typing import Literal, TypeAlias

import numpy as np

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.item import Catalogue, Item
from serendip.data.privacy import count_people, is_private
from serendip.data.search_log import Search, is_prefix_of_next
from serendip.data.text import normalise
from serendip.search.phrases import phrases_of
from serendip.search.suggestions.config import DECADE, QueriesConfig, Source

QueryKind: TypeAlias = Literal[
    "attribute", "rule", "phrase", "like", "query", "written", "title", "spelling"
]
KINDS: tuple[QueryKind, ...] = (
    "attribute",
    "rule",
    "phrase",
    "like",
    "query",
    "written",
    "title",
    "spelling",
)

LIKE = "{title}"
MOST_CHARACTERS = 60
_MOST_COMBINATIONS = 24
_MOST_COMMON_PHRASE = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A query that may be worth suggesting.

    Args:
        text: as it would be shown and searched.
        kind: of the query, as answers tell it.
        source: where it came from.
        items: (M,) int32 items that it was made from, ascending.
        users: different people who searched it; 0 where nobody did.
        searches: times that they did.
    """

    text: str
    kind: QueryKind
    source: Source
    items: IntArray
    users: int = 0
    searches: int = 0


def catalogue_candidates(
    catalogue: Catalogue, popularity: FloatArray, config: QueriesConfig
) -> list[Candidate]:
    """Those of all templates and phrases, each once, the more common first within a template.

    Args:
        catalogue: N items.
        popularity: (N,) interactions per item; those of a title compete by it.
        config: templates, fields of phrases and limits.
    """
    found: dict[str, Candidate] = {}
    for template in config.templates:
        for one in _of_template(catalogue, popularity, template, config):
            if one.source in config.sources:
                found.setdefault(normalise(one.text), one)
    if "rules" in config.sources:
        for name in config.phrases:
            for one in _phrases(catalogue, name, config):
                found.setdefault(normalise(one.text), one)
    return list(found.values())


def _of_template(
    catalogue: Catalogue, popularity: FloatArray, template: str, config: QueriesConfig
) -> list[Candidate]:
    groups: dict[str, list[int]] = {}
    for number, item in enumerate(catalogue.items):
        for text in _filled(template, item):
            groups.setdefault(text, []).append(number)
    is_like = LIKE in template
    is_field = template.startswith("{") and template.endswith("}") and template.count("{") == 1
    kind: QueryKind = "like" if is_like else "attribute" if is_field else "rule"
    fewest = 1 if is_like else config.min_items
    usable = [(text, items) for text, items in groups.items() if len(items) >= fewest]
    if is_like:
        usable.sort(key=lambda pair: (-float(popularity[pair[1]].max()), pair[0]))
    else:
        usable.sort(key=lambda pair: (-len(pair[1]), pair[0]))
    source: Source = "fields" if is_field else "rules"
    return [
        Candidate(text, kind, source, np.array(items, np.int32))
        for text, items in usable[: config.most_of_template]
    ]


def _filled(template: str, item: Item) -> Iterable[str]:
    """The template with every combination of an item's values; none where it lacks one."""
    parts = [(text, name, form) for text, name, form, _ in Formatter().parse(template)]
    values = [_values(item, name, form or "") if name else [""] for _, name, form in parts]
    texts = (
        "".join(text + value for (text, _, _), value in zip(parts, chosen, strict=True))
        for chosen in islice(product(*values), _MOST_COMBINATIONS)
    )
    return {text for text in texts if len(text) <= MOST_CHARACTERS and normalise(text)}


def _values(item: Item, name: str, form: str) -> list[str]:
    if form == DECADE:
        return _decade(item.attributes.get(name))
    value = item.attributes.get(name)
    listed = list(value) if isinstance(value, tuple) else [item.field_text(name)]
    return [one for one in listed if one and not _is_note(one)]


def _is_note(value: str) -> bool:
    """True for what a catalogue says instead of a value, as "(none)"."""
    return value.startswith(("(", "[", "<"))


def _decade(year: object) -> list[str]:
    """Of the century in which "90s" can mean one decade only."""
    if not isinstance(year, float) or not year.is_integer() or not 1930 <= year < 2030:
        return []
    return [f"{int(year) % 100 // 10}0s"]


def _phrases(catalogue: Catalogue, name: str, config: QueriesConfig) -> Iterator[Candidate]:
    """Words, and pairs and triples of them, that several items have in a field and not most."""
    # A title with the phrase is as good a result as a field with it.
    of_items = [set(phrases_of(f"{one.title}. {one.field_text(name)}")) for one in catalogue.items]
    counts = Counter(phrase for found in of_items for phrase in found)
    most = max(config.min_items, int(_MOST_COMMON_PHRASE * len(catalogue)))
    ordered = sorted(counts, key=lambda phrase: (-counts[phrase], phrase))
    usable = (one for one in ordered if config.min_items < counts[one] <= most)
    groups: dict[str, list[int]] = {one: [] for one in islice(usable, config.most_phrases)}
    for number, found in enumerate(of_items):
        for phrase in sorted(found & groups.keys()):
            groups[phrase].append(number)
    for phrase, items in groups.items():
        yield Candidate(phrase, "phrase", "rules", np.array(items, np.int32))


SAME_ATTEMPT_S = 300.0


@dataclass(frozen=True, slots=True)
class LoggedQuery:
    """What the log says of queries.

    Args:
        candidates: queries that enough people have searched and that are whole.
        dropped: test -> number of different queries that failed it.
    """

    candidates: list[Candidate]
    dropped: Mapping[str, int]


def logged_queries(searches: Sequence[Search], min_users: int) -> LoggedQuery:
    """Whole queries by at least ``min_users`` different people, in their most frequent spelling.

    A query of which any spelling is private is none: its normal form says as much as that.

    Args:
        searches: in order of time.
        min_users: people, at least; visitors with an id that the page made up do not count.
    """
    going_on = is_prefix_of_next(searches, SAME_ATTEMPT_S)
    groups: dict[str, list[tuple[Search, bool]]] = {}
    for one, is_begun in zip(searches, going_on, strict=True):
        groups.setdefault(one.key, []).append((one, is_begun and not len(one.chosen)))
    dropped: Counter[str] = Counter()
    candidates = []
    for key, found in groups.items():
        whole = [one for one, is_attempt in found if not is_attempt]
        users = len(count_people(one.user_id for one in whole))
        if 2 * len(whole) <= len(found):
            dropped["unfinished"] += 1
        elif users < min_users:
            dropped["few users"] += 1
        elif len(key) > MOST_CHARACTERS or any(is_private(one.text) for one, _ in found):
            dropped["private or long"] += 1
        else:
            candidates.append(_candidate(whole, users))
    return LoggedQuery(candidates, dict(dropped))


def _candidate(whole: Sequence[Search], users: int) -> Candidate:
    spellings = Counter(one.text.strip() for one in whole)
    text = min(spellings, key=lambda one: (-spellings[one], one))
    items = _distinct(one.chosen.tolist() for one in whole)
    return Candidate(text, "query", "logs", items, users, len(whole))


def _distinct(lists: Iterable[Iterable[int]]) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.array(sorted({item for found in lists for item in found}), np.int32)
