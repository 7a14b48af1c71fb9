"""``serendip judge lists``: draw lists of a surface, as it would show them, to be labelled.

A list is what the published generation answers to a user now, without the relevance filter; that of
a message goes on behind its ``min_value.k`` items, as those behind may move up. Users are drawn at
random among those with a past; a surface that answers typed texts is asked logged texts that enough
people typed, each for a user who typed it.

What a labeller is told of the user is short: the newest items that they chose, without those that
fewer than ``[queries] min_users`` people chose and without titles that look like an address or a
number, and the attributes that items have, too, with values that pass the same rules and that an
item has. No user id, no time and no other text is written.

**Lists of typed texts**: texts are those that enough people typed, those that an LLM wrote, and
suggested ones. Of each list the first ten items are labelled, which people see, and some behind:
these may move up, and there the irrelevant ones are.

A control question asks whether an item is a good result for its own title, or for the title of
another item that is least like it of many: its right answer is known.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from serendip.data import BoolArray, Catalogue, Dataset, IntArray, Query
from serendip.data.events.search_log import LoggedRequest
from serendip.data.privacy import VISITOR, count_people, is_private, is_publishable
from serendip.data.text import normalise
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.stages.base import FIRST
from serendip.engine.stages.list_filters import read_user
from serendip.engine.stages.surfaces import SurfaceConfig, find_surface, visible_to
from serendip.engine.state import TYPED_TEXTS
from serendip.errors import ConfigError, DataError, UnsupportedError
from serendip.jobs.context import JobContext
from serendip.jobs.labels.pair_files import ListRequest, Pair, describe_request, write_lists
from serendip.jobs.surface_quality.answers import without_relevance_filter
from serendip.jobs.whole_answers import BATCH, answer_whole
from serendip.models.relevance.features import COUNTRY

BEHIND, DEPTH = 10, 200
"""Items behind the first ten that are labelled, and the rank that they reach to."""

_AMONG = 50
"""Items of which the one least like a title is a wrong result for it."""


def find_public_requests(dataset: Dataset, surface: str, min_users: int) -> list[LoggedRequest]:
    """Logged requests of people whose text enough of them typed, and that nobody's number is in."""
    asked = [one for one in dataset.requests if one.surface == surface and one.user_id]
    people: dict[str, set[str]] = defaultdict(set)
    for one in asked:
        people[normalise(one.text)].add(one.user_id)
    return [
        one
        for one in asked
        if len(count_people(people[normalise(one.text)])) >= min_users
        and one.text.strip()
        and not is_private(one.text)
    ]


def draw_typed_lists(
    context: JobContext, engine: Engine, written: Sequence[str], count: int
) -> list[tuple[ListRequest, list[str]]]:
    """At most ``count`` lists of different texts, as search shows them to a visitor without the
    relevance filter.

    The seed of the context draws the texts, some of which an LLM has written.
    """
    config = without_relevance_filter(context.settings.all_surfaces()[TYPED_TEXTS])
    texts = islice(_choose_texts(context, engine, written), count)
    queries = engine.queries([Request(TYPED_TEXTS, text=text) for text in texts])
    results = answer_whole(queries, config, engine.state)
    return [
        (ListRequest.of_text(query.text), engine.item_ids(_choose_items(result.items.item_nums)))
        for query, result in zip(queries, results, strict=True)
        if len(result.items)
    ]


def _choose_texts(context: JobContext, engine: Engine, written: Sequence[str]) -> Iterator[str]:
    """Different texts: typed, written and suggested ones in turn."""
    least, table = context.settings.queries.min_users, engine.state.queries
    typed = find_public_requests(context.dataset, TYPED_TEXTS, least)
    random = np.random.default_rng(context.options.seed)
    suggested = [
        text for text, kind in zip(table.texts, table.kinds, strict=True) if kind != "like"
    ]
    groups = (list(dict.fromkeys(one.text for one in typed)), list(written), suggested)
    shuffled = ([group[row] for row in random.permutation(len(group))] for group in groups)
    in_turn = filter(None, chain.from_iterable(zip_longest(*shuffled)))
    yield from {normalise(text): text for text in in_turn if normalise(text)}.values()


def _choose_items(ranked: IntArray) -> IntArray:
    """The first items, and some behind: the deeper the fewer."""
    last = min(len(ranked), DEPTH) - 1
    if last <= FIRST:
        return ranked[: FIRST + 1]
    behind = np.geomspace(FIRST, last, BEHIND).round().astype(np.intp)
    return np.concatenate([ranked[:FIRST], ranked[np.unique(behind)]])


def make_controls(context: JobContext, count: int) -> dict[Pair, bool]:
    """Pairs -> whether the item is irrelevant: as many right results as wrong ones.

    At most ``count`` titles are drawn by the seed of the context.
    """
    catalogue, random = context.dataset.catalogue, np.random.default_rng(context.options.seed)
    order = random.permutation(len(catalogue)).tolist()
    titled = [one for one in order if normalise(catalogue.title(one))]
    asked = [one for one in titled if is_publishable(catalogue.title(one))][:count]
    others = titled[: max(_AMONG, count)]
    fields = context.settings.content.fields
    texts = [catalogue[number].text(fields) for number in others]
    titles = [catalogue.title(number) for number in asked]
    vectors = context.vectors.encode(context.encoder, [*titles, *texts])
    likeness = vectors[: len(titles)] @ vectors[len(titles) :].T  # (titles, others)
    controls: dict[Pair, bool] = {}
    for number, title, row in zip(asked, titles, likeness, strict=True):
        drawn = random.permutation(len(others))[:_AMONG]
        wrong = others[int(drawn[np.argmin(row[drawn])])]
        for item, is_irrelevant in ((number, False), (wrong, True)):
            if item != number or not is_irrelevant:
                controls[title, catalogue[item].item_id] = is_irrelevant
    return controls


MOST_PAST = 8
"""Items of the past that a labeller is told, at most."""


def draw_lists(
    context: JobContext, surface: str, out: Path, users: int = 200, length: int = 20
) -> dict[str, Any]:
    """Draw lists and write them.

    Returns:
        number of lists and of pairs, and the file.

    Raises:
        ConfigError: a number is below 1.
        StorageError: the file cannot be written.
        DataError: no user has a past that may be told, or no text was logged.
        NotTrainedError: nothing is published.
        UnsupportedError: the surface is not configured, or answers requests that name items.
    """
    if min(users, length) < 1:
        raise ConfigError("--users and --length must be at least 1.", "Give larger numbers.")
    workspace = context.workspace
    config = find_surface(workspace.settings.all_surfaces(), surface)
    if config.needs == "items":
        raise UnsupportedError(
            f"{surface} answers requests that name items, and the log does not have these.",
            "Draw lists of a feed, a message or a search.",
        )
    with Engine.open(workspace.folder) as engine:
        least = context.settings.queries.min_users
        values = find_tellable_values(context.dataset, engine.state.catalogue, least)
        told = _find_tellable(context, engine), values, least
        drawer = _Drawer(context.dataset, engine, surface, length, config, *told)
        lists = list(islice(drawer.draw(context.options.seed), users))
        catalogue = engine.state.catalogue
        titles = {
            one: catalogue.title(catalogue.vocabulary.number(one))
            for _, items in lists
            for one in items
        }
    if not lists:
        raise DataError(
            f"no list of {surface} can be drawn: no "
            + ("logged text has results." if config.needs else "user has a past that may be told."),
            "Import events, or lower [queries] min_users.",
        )
    write_lists(out, surface, lists, titles)
    pairs = sum(len(items) for _, items in lists)
    return {"lists": len(lists), "pairs": pairs, "out": str(out)}


def _find_tellable(context: JobContext, engine: Engine) -> BoolArray:
    """(N,) items of the engine that enough people chose, with a title that may be told."""
    dataset, catalogue = context.dataset, engine.state.catalogue
    events = dataset.events
    mine = _find_people(dataset)[events.users]
    pairs = np.unique(events.users[mine].astype(np.int64) * dataset.num_items + events.items[mine])
    people = np.bincount(pairs % dataset.num_items, minlength=dataset.num_items)
    known = np.flatnonzero(people >= context.settings.queries.min_users).astype(np.int32)
    numbers = catalogue.vocabulary.numbers(dataset.catalogue.vocabulary.ids_of(known))
    numbers = numbers[numbers >= 0]
    titles = map(catalogue.title, numbers.tolist())
    may = [bool(title.strip()) and is_publishable(title) for title in titles]
    tellable = np.zeros(len(catalogue), np.bool_)
    tellable[numbers[np.array(may, np.bool_)]] = True
    return tellable


def find_tellable_values(
    dataset: Dataset, catalogue: Catalogue, min_users: int
) -> dict[str, frozenset[str]]:
    """Attribute of users -> values that may be told, which items and enough people have."""
    is_person, items = _find_people(dataset), np.arange(len(catalogue), dtype=np.int32)
    attributes = {name: (own.names, own.of_users) for name, own in dataset.user_groups.items()}
    if dataset.countries is not None:
        attributes[COUNTRY] = dataset.countries.names, dataset.countries.of_users
    told = {}
    for name in attributes.keys() & set(catalogue.attribute_names):
        values, of_users = attributes[name]
        known = of_users[is_person & (of_users >= 0)]
        people = np.bincount(known, minlength=len(values))  # (G,)
        enough = [values[row] for row in np.flatnonzero(people >= min_users).tolist()]
        column = catalogue.column(name)
        told[name] = frozenset(
            value
            for value in enough
            if is_publishable(value) and column.having_of(value, items).any()
        )
    return told


def _find_people(dataset: Dataset) -> BoolArray:
    ids = dataset.users.ids_of(np.arange(dataset.num_users, dtype=np.int32))
    return np.array([not user.startswith(VISITOR) for user in ids], np.bool_)


@dataclass(frozen=True, slots=True, eq=False)
class _Drawer:
    """Draws the lists of one surface.

    Args:
        tellable: (N,) items of a past that a labeller may be told.
        values: attribute of users -> values that a labeller may be told.
    """

    dataset: Dataset
    engine: Engine
    name: str
    length: int
    surface: SurfaceConfig
    tellable: BoolArray
    values: Mapping[str, frozenset[str]]
    min_users: int

    def draw(self, seed: int) -> Iterator[tuple[ListRequest, list[str]]]:
        config, seen = self._without_end(), set[str]()
        asked = iter(self._requests(np.random.default_rng(seed)))
        while batch := list(islice(asked, BATCH)):
            queries = self.engine.queries(batch)
            results = answer_whole(queries, config, self.engine.state)
            for query, result in zip(queries, results, strict=True):
                request = self._describe(visible_to(self.surface, query))
                items = result.items.item_nums[: self.length]
                if request is None or request.query in seen or not len(items):
                    continue
                seen.add(request.query)
                yield request, self.engine.item_ids(items)

    def _without_end(self) -> SurfaceConfig:
        """The surface without the filter; of a message also what was too much to be sent."""
        config = without_relevance_filter(self.surface)
        if config.min_value is None:
            return config
        longest = max(config.min_value.k, self.length)
        whole = config.min_value.model_copy(update={"k": longest})
        return config.model_copy(update={"min_value": whole})

    def _requests(self, random: np.random.Generator) -> Iterable[Request]:
        """Requests of users, in random order; of the newest logged texts, if these are answered."""
        name = self.name
        if self.surface.needs == "query":
            may = find_public_requests(self.dataset, name, self.min_users)
            for row in random.permutation(len(may)).tolist():
                yield Request(name, text=may[row].text, user_id=may[row].user_id)
            return
        users = np.unique(self.dataset.events.users)
        for user in self.dataset.users.ids_of(random.permutation(users).astype(np.int32)):
            yield Request(name, user_id=user)

    def _describe(self, query: Query) -> ListRequest | None:
        """The request in words and ids; None if nothing of the past may be told."""
        past = self._select_past(query.history.item_nums)
        if not len(past) and not query.text:
            return None
        catalogue = self.engine.state.catalogue
        attributes = {
            name: value
            for name, value in read_user(query).attributes.items()
            if value in self.values.get(name, ())
        }
        titles = [catalogue.title(number) for number in reversed(past.tolist())]
        words = describe_request(query.text, titles, attributes)
        return ListRequest(words, query.text, tuple(self.engine.item_ids(past)), attributes)

    def _select_past(self, items: IntArray) -> IntArray:
        """(M,) the newest different items that may be told, the newest last."""
        known = items[items < len(self.tellable)]
        newest = dict.fromkeys(reversed(known[self.tellable[known]].tolist()))
        return np.array(list(newest)[:MOST_PAST][::-1], np.int32)
