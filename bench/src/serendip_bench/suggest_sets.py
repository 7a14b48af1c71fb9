"""Sets of searches that ``bench suggest`` predicts: tags, category queries, requests of talks.

A tag of MovieLens is a search and its film the chosen result. Tags have times, and every system
reads what was before a target: the first use of the newest tag that a user had not used before
(``new``), or of the one before that (``validation``, for choices). The other sets have held-out
users: systems are built from the searches of all other users, and read of a held-out
user what was before the target. Half of the held-out users are for choices (``-validation``), the
other half for the report; neither half sees the other.

- **categories** (sequence sets): who chose an item searched the last level of its category path, as
  people pick a category before they pick a product. The levels below the first one are values of
  the attribute ``category``.
- **requests** (redial beside the films): the queries of a sentence are the genres, directors and
  cast that it names, and ``like TITLE`` for a film that it names. A talk is a user, and the films
  that were suggested next are chosen.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path

import numpy as np
from scipy import sparse

from serendip.data import Catalogue, Dataset, EventLog, IntArray, Vocabulary
from serendip.data.arrays import take_rows
from serendip.data.events.search_log import Search
from serendip.data.text import normalise
from serendip.errors import ConfigError, DataError
from serendip.files.config import EventsConfig
from serendip.files.events import read_events
from serendip_bench.datasets.movielens import (
    FILM_FIELDS,
    FILMS_FILE,
    RATINGS_FILE,
    REQUESTS_FILE,
    read_movielens,
    read_search_sets,
)
from serendip_bench.datasets.sequences import (
    ITEMS_FILE,
    SEQUENCES_FILE,
    TEXT_FIELDS,
    category_path,
    read_item_rows,
    read_sequences,
)

HELD_OUT_SHARE = 0.2
"""Share of the users whose searches are held out, of the category queries."""

TALKS_SHARE = 0.8
"""The same of the talks, of which there are few; what they search is known from the others."""

VALIDATION = "-validation"

_LATER = 1e12
"""Times of held-out users begin here: after all others."""

_SPAN = 1e6
"""Time between two held-out users."""


USER_TAGS_FILE = "tags.csv"
_COLUMNS = {"user_id": "userId", "item_id": "movieId", "query": "tag", "timestamp": "timestamp"}
_PLACES = {"new": -1, "validation": -2}
"""Set of tags -> place of the target among those of a user, by first use."""


@dataclass(frozen=True, slots=True)
class Target:
    """The next search of a user, of a query that is new to them.

    Args:
        timestamp: of the search; systems read earlier data only.
        key: normal form of the query.
    """

    user_id: str
    timestamp: float
    key: str


@dataclass(frozen=True, slots=True, eq=False)
class SuggestData:
    """Searches to predict and what is known before.

    Args:
        searches: by time.
        targets: by time.
        fields: of an item that are encoded.
        held_out_from: time from which events and searches belong to held-out users; infinite =
            nobody is held out.
    """

    dataset: Dataset
    searches: Sequence[Search]
    targets: Sequence[Target]
    fields: Sequence[str]
    files: Sequence[Path]
    held_out_from: float = np.inf


def read_suggest_data(folder: Path, name: str, seed: int, most_users: int) -> SuggestData:
    """Read a set of a folder.

    Args:
        folder: films with tags, or sequences.
        name: one of ``list_sets``.
        seed: of the users that are held out.
        most_users: of the held-out users that are asked; they are in random order.

    Raises:
        ConfigError: the folder has no such set.
        DataError: a file is missing or invalid.
    """
    known = list_sets(folder)
    if name not in known:
        raise ConfigError(f"--set {name!r}.", f"{folder} has {', '.join(known)}.")
    data = known[name](folder, name, seed)
    if np.isinf(data.held_out_from):
        return data
    return replace(data, targets=data.targets[:most_users])


_Reader = Callable[[Path, str, int], SuggestData]


def list_sets(folder: Path) -> Mapping[str, _Reader]:
    """Name -> reader of the sets of a folder."""
    sets: dict[str, _Reader] = {}
    if (folder / USER_TAGS_FILE).exists():
        sets |= dict.fromkeys(_PLACES, _read_tag_data)
        if (folder.resolve().parent / REQUESTS_FILE).exists():
            sets |= dict.fromkeys(("requests", f"requests{VALIDATION}"), _read_talks)
    if (folder / SEQUENCES_FILE).exists():
        sets |= dict.fromkeys(("categories", f"categories{VALIDATION}"), _read_categories)
    return sets


def _read_tag_data(folder: Path, name: str, seed: int) -> SuggestData:
    films = read_movielens(folder)
    searches = read_tags(folder, films.catalogue.vocabulary)
    files = [folder / file for file in (FILMS_FILE, RATINGS_FILE, USER_TAGS_FILE)]
    targets = select_targets(searches, name)
    return SuggestData(with_choices(films, searches), searches, targets, FILM_FIELDS, files)


def read_tags(folder: Path, films: Vocabulary) -> list[Search]:
    """Read the taggings of films of the catalogue, by time, then in file order.

    Raises:
        DataError: the file is missing or invalid, or has no tag.
    """
    config = EventsConfig(path=USER_TAGS_FILE, columns=_COLUMNS)
    searches = []
    for event in read_events(config, folder):
        film, key = films.number(event.item_id), normalise(event.query)
        if film >= 0 and key:
            chosen = np.array([film], np.int32)
            searches.append(Search(event.user_id, event.timestamp, event.query, key, chosen))
    if not searches:
        raise DataError(f"{folder / USER_TAGS_FILE} has no tags of films of the catalogue.")
    return sorted(searches, key=lambda search: search.timestamp)


def with_choices(dataset: Dataset, searches: Sequence[Search]) -> Dataset:
    """A copy with an event for every chosen search result, by time.

    Searches of users outside the dataset are ignored.
    """
    rows = [
        (dataset.users.number(search.user_id), int(item), search.timestamp)
        for search in searches
        for item in search.chosen
        if dataset.users.number(search.user_id) >= 0
    ]
    events, count = dataset.events, len(rows)
    users, items, times = zip(*rows, strict=True) if rows else ((), (), ())
    timestamps = np.concatenate([events.timestamps, np.array(times, np.float64)])
    joined = EventLog(
        np.concatenate([events.users, np.array(users, np.int32)]),
        np.concatenate([events.items, np.array(items, np.int32)]),
        timestamps,
        np.concatenate([events.liked, np.zeros(count, np.bool_)]),
        np.concatenate([events.values, np.full(count, np.nan, np.float32)]),
    )
    return replace(dataset, events=take_rows(joined, np.argsort(timestamps, kind="stable")))


def select_targets(searches: Sequence[Search], name: str) -> list[Target]:
    """The targets of a set of tags, by time."""
    place = _PLACES[name]
    targets = [tags[place] for tags in _list_first_uses(searches) if len(tags) >= -place]
    return sorted(targets, key=lambda target: (target.timestamp, target.user_id))


def _list_first_uses(searches: Iterable[Search]) -> list[list[Target]]:
    """The first search of each query of a user, by time; a list for each user."""
    firsts: dict[str, dict[str, Target]] = {}
    for search in searches:
        target = Target(search.user_id, search.timestamp, search.key)
        firsts.setdefault(search.user_id, {}).setdefault(search.key, target)
    return [list(targets.values()) for targets in firsts.values()]


def _read_categories(folder: Path, name: str, seed: int) -> SuggestData:
    dataset = read_sequences(folder)
    paths = {item: category_path(row) for item, row in read_item_rows(folder).items()}
    items = [
        replace(item, attributes={"category": tuple(paths[item.item_id][1:])})
        for item in dataset.catalogue.items
    ]
    dataset = replace(dataset, catalogue=Catalogue(items))
    texts = [(paths[item.item_id] or ("",))[-1] for item in items]
    keys = [normalise(text) for text in texts]
    events, ids = dataset.events, dataset.users.ids
    rows = zip(
        events.users.tolist(), events.items.tolist(), events.timestamps.tolist(), strict=True
    )
    searches = [
        Search(ids[user], time, texts[item], keys[item], np.array([item], np.int32))
        for user, item, time in rows
        if keys[item]
    ]
    files = [folder / file for file in (SEQUENCES_FILE, ITEMS_FILE)]
    data = SuggestData(dataset, searches, [], TEXT_FIELDS, files)
    return _hold_out(data, HELD_OUT_SHARE, name, seed)


def _read_talks(folder: Path, name: str, seed: int) -> SuggestData:
    films = read_movielens(folder)
    requests = read_search_sets(folder)["redial"]
    named = NamedQueries.of(films.catalogue)
    searches = []
    for number, (text, ids, talk) in enumerate(
        zip(requests.texts, requests.films, requests.units, strict=True)
    ):
        chosen = films.catalogue.vocabulary.numbers(ids)
        chosen = np.unique(chosen[chosen >= 0]).astype(np.int32)
        for query in named.find(text):
            searches.append(Search(talk, float(number), query, normalise(query), chosen))
    users = Vocabulary([*films.users.ids, *dict.fromkeys(search.user_id for search in searches)])
    # Ratings are of other people, and earlier than all talks.
    events = replace(films.events, timestamps=films.events.timestamps - _LATER)
    dataset = with_choices(replace(films, users=users, events=events), searches)
    files = [folder / FILMS_FILE, folder / RATINGS_FILE, folder.resolve().parent / REQUESTS_FILE]
    data = SuggestData(dataset, searches, [], FILM_FIELDS, files)
    return _hold_out(data, TALKS_SHARE, name, seed)


@dataclass(frozen=True, slots=True, eq=False)
class NamedQueries:
    """Finds what a sentence names: attribute values, and titles of two words or more.

    Args:
        by_key: words -> query.
        longest: largest number of words.
    """

    by_key: Mapping[str, str]
    longest: int

    @classmethod
    def of(cls, catalogue: Catalogue) -> NamedQueries:
        """Read the values and titles of a catalogue; of equal ones the value counts."""
        by_key: dict[str, str] = {}
        for item in catalogue.items:
            title = re.sub(r"\s*\(\d{4}\)$", "", item.title)
            if len(normalise(title).split()) > 1:
                by_key.setdefault(normalise(title), f"like {item.title}")
        for item in catalogue.items:
            for value in item.attributes.values():
                texts = value if isinstance(value, tuple) else (value,)
                by_key |= {normalise(text): text for text in texts if isinstance(text, str)}
        by_key.pop("", None)
        return cls(by_key, max((key.count(" ") + 1 for key in by_key), default=0))

    def find(self, text: str) -> list[str]:
        """Queries of a sentence in their order; of what overlaps, the longest."""
        words = normalise(text).split()
        found: list[str] = []
        begin = 0
        while begin < len(words):
            for length in range(self.longest, 0, -1):
                query = self.by_key.get(" ".join(words[begin : begin + length]))
                if query is not None and begin + length <= len(words):
                    found.append(query)
                    begin += length - 1
                    break
            begin += 1
        return list(dict.fromkeys(found))


def _hold_out(data: SuggestData, share: float, name: str, seed: int) -> SuggestData:
    """Hold out users, half of them for choices; the target is the newest query of each.

    A target is a query that its user has not searched before. Users of the other half are dropped.
    The others begin at random times: positions are no times, and the newest searches of a log are
    not those of its longest histories.
    """
    searchers = sorted({search.user_id for search in data.searches})
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(searchers))
    held_out = [searchers[row] for row in order[: int(share * len(searchers))].tolist()]
    half = len(held_out) // 2
    is_validation = name.endswith(VALIDATION)
    asked, dropped = held_out[:half], held_out[half:]
    if not is_validation:
        asked, dropped = dropped, asked
    gone = set(dropped)
    begins = dict(zip(searchers, rng.uniform(0.0, _SPAN, len(searchers)).tolist(), strict=True))
    begins |= {user: _LATER + row * _SPAN for row, user in enumerate(asked)}
    searches = sorted(
        (
            replace(search, timestamp=begins[search.user_id] + search.timestamp)
            for search in data.searches
            if search.user_id not in gone
        ),
        key=lambda search: search.timestamp,
    )
    dataset = _shift_events(data.dataset, begins, gone)
    own = [search for search in searches if search.user_id in set(asked)]
    targets = [max(uses, key=attrgetter("timestamp")) for uses in _list_first_uses(own)]
    return replace(data, dataset=dataset, searches=searches, targets=targets, held_out_from=_LATER)


def _shift_events(dataset: Dataset, begins: Mapping[str, float], gone: set[str]) -> Dataset:
    """The events without those of some users; held-out users come after all others."""
    ids = dataset.users.ids
    shifts = np.array([begins.get(user, 0.0) for user in ids])
    events = dataset.events.rows(~np.array([user in gone for user in ids])[dataset.events.users])
    times = events.timestamps + shifts[events.users]
    shifted = replace(events, timestamps=times)
    return replace(dataset, events=take_rows(shifted, np.argsort(times, kind="stable")))


def filter_public(before: Sequence[Search], min_users: int) -> list[Search]:
    """Searches of queries with at least ``min_users`` distinct users."""
    users: dict[str, set[str]] = {}
    for search in before:
        users.setdefault(search.key, set()).add(search.user_id)
    return [search for search in before if len(users[search.key]) >= min_users]


class QueryCounts:
    """Queries of some searches: their order by popularity, and who searched them.

    Args:
        before: all searches, for the popularity.
        others: those of other people than the one that is asked for.
    """

    def __init__(self, before: Sequence[Search], others: Sequence[Search]) -> None:
        num_users = Counter(key for _, key in {(s.user_id, s.key) for s in before})
        num_searches = Counter(search.key for search in before)
        users = {user: row for row, user in enumerate(dict.fromkeys(s.user_id for s in others))}
        self.keys = sorted(num_users, key=lambda key: (-num_users[key], -num_searches[key], key))
        """Queries by popularity: people, then searches, then the alphabet."""
        self._columns = {key: column for column, key in enumerate(self.keys)}
        pairs = sorted({(users[s.user_id], self._columns[s.key]) for s in others})
        shape = (len(users), len(self.keys))
        rows, columns = np.array(pairs, np.int32).reshape(-1, 2).T
        self._of_users = sparse.csr_array((np.ones(len(pairs)), (rows, columns)), shape=shape)
        places = [
            (self._columns[s.key], item, row)
            for row, s in enumerate(others)
            for item in s.chosen.tolist()
        ]
        queries, items, numbers = np.array(places, np.int64).reshape(-1, 3).T
        self._queries, self._items, self._numbers = queries, items, numbers

    def rank_by_cooccurrence(self, user_keys: frozenset[str], recent: IntArray) -> list[str]:
        """Queries by those of the people who share queries, and by searches of recent items.

        The score of a query sums, over the people who searched it, the queries shared with the
        user, plus one for each search of it after which a recent item was chosen; ties by
        popularity.
        """
        own = np.zeros(len(self.keys))
        own[[self._columns[key] for key in user_keys if key in self._columns]] = 1.0
        shared = np.asarray(self._of_users @ own)  # (U,)
        scores = np.asarray(self._of_users.T @ shared)  # (Q,)
        chosen = np.isin(self._items, recent)
        searches = {
            (int(query), int(number))
            for query, number in zip(self._queries[chosen], self._numbers[chosen], strict=True)
        }
        for query, _ in searches:
            scores[query] += 1.0
        order = np.argsort(-scores, kind="stable")
        return [self.keys[column] for column in order.tolist()]
