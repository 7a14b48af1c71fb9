"""Candidate suggestions from the catalogue (attributes, series, phrases) and the search log.

A catalogue candidate knows the items that it was made from, so its relevant results are known
before anybody has typed it.

A logged query is a candidate if enough people searched it and it is complete. While people type, a
page may search after every letter: "sta" and "star tr" are searches, but not queries. A search is
an *attempt* if nothing was chosen and the same person's next search, within minutes, begins with
it. A query is complete if less than half of its searches are attempts; only people with a search
that is not an attempt count.

**Series**: what the titles of several items begin with, such as "Star Wars" or "Acme Drill 12". A
series is a beginning of titles after which most of them end, or go on with a colon, a comma, a
bracket, a dash, a number or, after a name of two words or more, a function word: "Toy Story 2",
"Alien: Covenant", "Harry Potter and the Goblet of Fire". "The Man" of many films is none.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import chain, combinations, islice
from typing import Literal, TypeAlias, get_args

import numpy as np

from serendip.data import Catalogue, FloatArray, IntArray, normalise
from serendip.data.events.search_log import Search, is_prefix_of_next
from serendip.data.privacy import count_people, is_private
from serendip.search.config import QueriesConfig
from serendip.search.language import function_words, most_frequent, phrases_of, spell_phrases
from serendip.search.suggestions.combinations import (
    combined_values,
    least_items,
    main_attribute,
    single_values,
)

LEAST_ITEMS = 3
_MAX_WORDS = 6
_FEWEST_LETTERS = 3
_COUNTED = frozenset("episode part vol volume chapter season book no nr issue".split())
"""Words before the number of a part, which end no series."""

_MIN_SHARE = 0.6
"""Share of the titles with a beginning that end or turn after it."""
_LONGER, _SAME = 0.85, 0.5
"""Shares of the titles with a beginning that have a longer one: from which on the longer one is
their series, if the shorter is a single word, and from which on the shorter one is that of both."""

_WORD = re.compile(r"\w[\w'’.&-]*\w|\w")
_TURN = re.compile(r"\s*($|[:,;(\[|–—/]|-\s|#?\d|[IVX]+\b)")


@dataclass(slots=True)
class _Beginning:
    """Titles with one beginning: their numbers, where they turn, its spellings and next words."""

    items: list[int] = field(default_factory=list)
    turns: int = 0
    spellings: Counter[str] = field(default_factory=Counter)


def find_series(titles: Sequence[str], grammar: Set[str]) -> dict[str, list[int]]:
    """Series, in their most frequent spelling -> ascending numbers of their titles.

    Function words are in normal form.
    """
    found: dict[str, _Beginning] = defaultdict(_Beginning)
    for number, title in enumerate(titles):
        for text, is_turn in _beginnings(title, grammar):
            beginning = found[normalise(text)]
            if not beginning.items or beginning.items[-1] != number:
                beginning.items.append(number)
                beginning.turns += is_turn
                beginning.spellings[text] += 1
    usable = {
        key: beginning
        for key, beginning in found.items()
        if len(beginning.items) >= LEAST_ITEMS
        and beginning.turns >= _MIN_SHARE * len(beginning.items)
    }
    kept = _drop_same(usable)
    return {
        most_frequent(usable[key].spellings): usable[key].items for key in usable if key in kept
    }


def _beginnings(title: str, grammar: Set[str]) -> Iterator[tuple[str, bool]]:
    """The first words of a title, 1 to 6 of them, and whether the title turns after them."""
    places = list(_WORD.finditer(title))[:_MAX_WORDS]
    keys = [normalise(place.group()) for place in places]
    if not keys or keys[0][:1].isdigit():  # a number of pieces, or a year
        return
    for last, place in enumerate(places):
        text = title[: place.end()]
        is_cut = keys[last] in grammar or keys[last] in _COUNTED or keys[last].isdigit()
        if is_cut or len(text) < _FEWEST_LETTERS:
            continue
        after = title[place.end() :].split(maxsplit=1)[:1]
        is_name = last > 0 and keys[0] not in grammar
        goes_on = is_name and normalise("".join(after)) in grammar  # "&" is "and"
        yield text, goes_on or bool(_TURN.match(title, place.end()))


def _drop_same(usable: Mapping[str, _Beginning]) -> Set[str]:
    """Keep one of two beginnings that mostly the same titles have."""
    kept = set(usable)
    for key, beginning in usable.items():
        parts, count = key.split(), len(beginning.items)
        for shorter in (" ".join(parts[:length]) for length in range(1, len(parts))):
            if shorter in usable:
                share = count / len(usable[shorter].items)
                is_longer = " " not in shorter and share >= _LONGER
                kept -= {shorter} if is_longer else {key} if share >= _SAME else set()
    return kept


QueryKind: TypeAlias = Literal[
    "attribute", "rule", "name", "series", "phrase", "like", "query", "written", "title", "spelling"
]
KINDS: tuple[QueryKind, ...] = get_args(QueryKind)

LIKE = "like "
SAME_ATTEMPT_S = 300.0
"""Seconds within which a next search that begins with one goes on typing it."""

MOST_CHARACTERS = 60
_MOST_COMMON_PHRASE = 0.05
_PART = 0.8
"""Share of the items of a phrase that a longer one has, from which on it is a part of that one."""
_MOST_SPELLINGS = 20
"""Items of a phrase whose spellings of it are counted."""


Source: TypeAlias = Literal["fields", "logs", "own", "rules", "llm"]
"""Where a suggestion comes from: titles and single values; searches of several people; searches and
choices of the user; values combined, series of titles and phrases; an LLM."""

MIN_ITEMS = 2
"""Items of a candidate at least, except for ``like`` an item."""

_MOST_OF_ATTRIBUTE = 2_000
"""Candidates of one attribute, or of one kind of combination: those with the most items; and of
``like`` an item: of the most popular ones."""

_MOST_PHRASES = 10_000
"""Candidates of one field of phrases, those with the most items."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A candidate query suggestion.

    Args:
        items: (M,) int32 items that it was made from, ascending.
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
    """Generate the candidates of a catalogue, without duplicates.

    Popularity is (N,) interactions per item; ``like`` is of the most popular ones.
    """
    candidates: dict[str, Candidate] = {}
    for candidate in chain(
        _of_attributes(catalogue, config),
        _of_texts(catalogue, config),
        _like(catalogue, popularity),
    ):
        if len(candidate.text) <= MOST_CHARACTERS:
            candidates.setdefault(normalise(candidate.text), candidate)
    return list(candidates.values())


def _of_attributes(catalogue: Catalogue, config: QueriesConfig) -> Iterator[Candidate]:
    main = config.category or main_attribute(catalogue)
    for values in single_values(catalogue, main):
        for text, items in values.largest(_MOST_OF_ATTRIBUTE, MIN_ITEMS):
            yield Candidate(text, "attribute", "fields", items)
    for kind, values in combined_values(catalogue, main):
        for text, items in values.largest(_MOST_OF_ATTRIBUTE, least_items(len(catalogue))):
            yield Candidate(text, kind, "rules", items)


def _of_texts(catalogue: Catalogue, config: QueriesConfig) -> Iterator[Candidate]:
    titles = [item.title for item in catalogue.items]
    for text, items in find_series(titles, function_words(titles)).items():
        yield Candidate(text, "series", "rules", np.array(items, np.int32))
    for name in config.phrases:
        yield from _phrases(catalogue, name)


def _like(catalogue: Catalogue, popularity: FloatArray) -> Iterator[Candidate]:
    """``like`` the most popular items, which leads to what is similar to them."""
    for number in np.argsort(-popularity, kind="stable")[:_MOST_OF_ATTRIBUTE].tolist():
        title = catalogue[number].title
        if popularity[number] > 0 and normalise(title):
            yield Candidate(f"{LIKE}{title}", "like", "rules", np.array([number], np.int32))


def _phrases(catalogue: Catalogue, name: str) -> Iterator[Candidate]:
    """Phrases of one to three words that several items, but not too many, have in a field.

    They are spelled as most of these items spell them. Where no item has the field, they are of
    the titles, of two words at least: a single word of a title says too little.
    """
    # A title with the phrase is as good a result as a field with it.
    bodies = [item.field_text(name) for item in catalogue.items]
    texts = [f"{item.title}. {body}" for item, body in zip(catalogue.items, bodies, strict=True)]
    sign = "" if any(bodies) else " "
    grammar = function_words(texts)
    item_phrases = [set(phrases_of(text, grammar)) for text in texts]
    counts = Counter(phrase for phrases in item_phrases for phrase in phrases if sign in phrase)
    most = max(MIN_ITEMS, int(_MOST_COMMON_PHRASE * len(catalogue)))
    ordered = sorted(counts, key=lambda phrase: (-counts[phrase], phrase))
    usable = (phrase for phrase in ordered if MIN_ITEMS < counts[phrase] <= most)
    groups: dict[str, list[int]] = {phrase: [] for phrase in islice(usable, _MOST_PHRASES)}
    for number, phrases in enumerate(item_phrases):
        for phrase in sorted(phrases & groups.keys()):
            groups[phrase].append(number)
    groups = _drop_parts(groups)
    spelled = _find_spellings(texts, groups, grammar)
    for phrase, items in groups.items():
        yield Candidate(spelled[phrase], "phrase", "rules", np.array(items, np.int32))


def _drop_parts(groups: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """Without the phrases of several words that are a part of a longer one of nearly the same
    items, as "wars episode" is of "star wars episode".
    """
    most: Counter[str] = Counter()  # items of the longer phrases that have a phrase
    for phrase, items in groups.items():
        parts = phrase.split(" ")
        for begin, end in combinations(range(len(parts) + 1), 2):
            if 1 < end - begin < len(parts):
                part = " ".join(parts[begin:end])
                most[part] = max(most[part], len(items))
    return {phrase: items for phrase, items in groups.items() if most[phrase] < _PART * len(items)}


def _find_spellings(
    texts: Sequence[str], groups: Mapping[str, Sequence[int]], grammar: frozenset[str]
) -> dict[str, str]:
    """Normal form -> its most frequent spelling among the first texts that have it.

    Groups are normal form -> numbers of the texts that have it.
    """
    numbers = {number for items in groups.values() for number in items[:_MOST_SPELLINGS]}
    spellings: dict[str, Counter[str]] = {phrase: Counter() for phrase in groups}
    for number in sorted(numbers):
        for phrase, text in spell_phrases(texts[number], grammar):
            if phrase in spellings:
                spellings[phrase][text] += 1
    return {phrase: most_frequent(found) or phrase for phrase, found in spellings.items()}


def logged_queries(
    searches: Sequence[Search], min_users: int, dropped: Counter[str] | None = None
) -> list[Candidate]:
    """Complete queries by at least ``min_users`` distinct people, in their most frequent spelling.

    Searches come in order of time; visitors with a generated id do not count. A query is dropped if
    any of its spellings is private: its normal form reveals as much. What is dropped is added to
    ``dropped``: test -> number of distinct queries that failed it.
    """
    dropped = Counter() if dropped is None else dropped
    is_prefix = is_prefix_of_next(searches, SAME_ATTEMPT_S)
    groups: dict[str, list[tuple[Search, bool]]] = {}
    for search, goes_on in zip(searches, is_prefix, strict=True):
        groups.setdefault(search.key, []).append((search, goes_on and not len(search.chosen)))
    candidates = []
    for key, group in groups.items():
        complete = [search for search, is_attempt in group if not is_attempt]
        users = len(count_people(search.user_id for search in complete))
        if 2 * len(complete) <= len(group):
            dropped["unfinished"] += 1
        elif users < min_users:
            dropped["few users"] += 1
        elif len(key) > MOST_CHARACTERS or any(is_private(search.text) for search, _ in group):
            dropped["private or long"] += 1
        else:
            text = most_frequent(Counter(search.text.strip() for search in complete))
            items = np.unique(np.concatenate([search.chosen for search in complete]))
            items = items.astype(np.int32)
            candidates.append(Candidate(text, "query", "logs", items, users, len(complete)))
    return candidates
