"""Queries whose right answers the catalogue knows: they name values of attributes.

Written ones are made from the fields of items; logged ones are those that people typed and that
name a value word by word.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from serendip.data.arrays import BoolArray
from serendip.data.text import normalise
from serendip.jobs.lists.item_facts import ItemFacts, Value, choose
from serendip.jobs.surface_quality.sample import take_turns

LEAST_ITEMS = 5
"""Items that have what a query names: so many that the first five can all be right."""

_EXAMINED = 200
"""Items of a value that are searched for another value that they share."""

_LONGEST = 5
"""Words of a value that is looked for in a logged query."""


@dataclass(frozen=True, slots=True, eq=False)
class NamedQuery:
    """A query and the items (N,) that have all that it names."""

    text: str
    right: BoolArray


def write_queries(facts: ItemFacts, limit: int, seed: int) -> dict[str, list[NamedQuery]]:
    """Kind of query -> at most ``limit`` queries: a value, two values, a value and a decade."""
    by_key = {f"{kind}\0{value}": (kind, value) for kind, value in facts.list_values(LEAST_ITEMS)}
    share = max(1, limit // max(len(facts.kinds), 1))
    of_kinds = [
        choose((key for key, one in by_key.items() if one[0] == kind), share, seed)
        for kind in facts.kinds
    ]
    chosen = [by_key[key] for key in take_turns(of_kinds)]
    found: dict[str, list[NamedQuery]] = {
        "a value": [NamedQuery(value, facts.having([(kind, value)])) for kind, value in chosen],
        "two values": [],
        "a value and a decade": [],
    }
    for kind, value in chosen:
        for name, query in _narrow(facts, (kind, value)):
            found[name].append(query)
    return {name: queries for name, queries in found.items() if queries}


def _narrow(facts: ItemFacts, value: Value) -> Iterator[tuple[str, NamedQuery]]:
    items = facts.having([value])
    others = Counter(
        other
        for item_id in facts.find_ids(items, _EXAMINED)
        for other in sorted(facts.values_of(item_id))
        if other[0] != value[0]
    )
    if others and (best := others.most_common(1)[0])[1] >= LEAST_ITEMS:
        text = f"{value[1]} {best[0][1]}"
        yield "two values", NamedQuery(text, facts.having([value, best[0]]))
    decades = Counter(facts.find_decades(items)) if facts.years else Counter[int]()
    if decades and (most := decades.most_common(1)[0])[1] >= LEAST_ITEMS:
        text = f"{value[1]} {most[0]}s"
        yield "a value and a decade", NamedQuery(text, items & facts.decade(most[0]))


def read_queries(facts: ItemFacts, texts: Sequence[str], limit: int, seed: int) -> list[NamedQuery]:
    """Those of the logged texts that name values which some items have together."""
    by_name = {normalise(value): (kind, value) for kind, value in facts.list_values(1)}
    named = ((text, _find_values(text, by_name)) for text in choose(set(texts), len(texts), seed))
    queries = (NamedQuery(text, facts.having(values)) for text, values in named if values)
    return list(islice((query for query in queries if query.right.any()), limit))


def _find_values(text: str, by_name: dict[str, Value]) -> list[Value]:
    """Values that a text names, the longest first wherever several begin."""
    words, found, begin = normalise(text).split(), [], 0
    while begin < len(words):
        ends = range(min(begin + _LONGEST, len(words)), begin, -1)
        end = next((end for end in ends if " ".join(words[begin:end]) in by_name), 0)
        if end:
            found.append(by_name[" ".join(words[begin:end])])
        begin = end or begin + 1
    return found


def write_gibberish(titles: Sequence[str], limit: int, seed: int) -> list[str]:
    """Words of random letters, those of the titles, that no title has."""
    known = {word for title in titles for word in normalise(title).split()}
    counts = Counter(letter for word in sorted(known) for letter in word if letter.isalpha())
    letters = sorted(letter for letter, count in counts.items() if 100 * count >= len(known))
    rng = random.Random(seed)
    words = ("".join(rng.choices(letters, k=rng.randint(6, 10))) for _ in range(2 * limit))
    return [word for word in words if word not in known][:limit] if letters else []
