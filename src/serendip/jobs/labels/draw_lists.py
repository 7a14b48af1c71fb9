"""``serendip judge lists``: draw lists of a surface, as it would show them, to be labelled.

A list is what the published generation answers to a user now, without the relevance filter; that of
a message goes on behind its ``min_value.k`` items, as those behind may move up. Users are drawn at
random among those with a past; a surface that answers typed texts is asked logged texts that enough
people typed, each for a user who typed it.

What a labeller is told of the user is short: the newest items that they chose, without those that
fewer than ``[queries] min_users`` people chose and without titles that look like an address or a
number, and the attributes that items have, too, with values that pass the same rules and that an
item has. No user id, no time and no other text is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from serendip.data import BoolArray, Catalogue, Dataset, IntArray, Query
from serendip.data.privacy import VISITOR, is_publishable
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.stages.list_filters import read_user
from serendip.engine.stages.surfaces import SurfaceConfig, find_surface, visible_to
from serendip.errors import ConfigError, DataError, UnsupportedError
from serendip.jobs.context import JobContext
from serendip.jobs.labels.shown_lists import ListRequest, describe_request, write_lists
from serendip.jobs.labels.typed_lists import find_public_requests
from serendip.jobs.surface_quality.answers import without_relevance_filter
from serendip.jobs.whole_answers import answer_whole
from serendip.models.relevance.user_features import COUNTRY

MOST_PAST = 8
"""Items of the past that a labeller is told, at most."""
_BATCH = 64


@dataclass(frozen=True, slots=True)
class ListDrawing:
    """What to draw.

    Args:
        surface: whose lists.
        out: file of the lists.
        users: number of lists.
        length: items of a list, those that may move up included.
    """

    surface: str
    out: Path
    users: int = 200
    length: int = 20


def draw_lists(context: JobContext, drawing: ListDrawing) -> dict[str, Any]:
    """Draw lists and write them.

    Args:
        context: workspace with a published generation; its seed draws the users.
        drawing: what to draw.

    Returns:
        number of lists and of pairs, and the file.

    Raises:
        ConfigError: a number is below 1, or the file cannot be written.
        DataError: no user has a past that may be told, or no text was logged.
        NotTrainedError: nothing is published.
        UnsupportedError: the surface is not configured, or answers requests that name items.
    """
    if min(drawing.users, drawing.length) < 1:
        raise ConfigError("--users and --length must be at least 1.", "Give larger numbers.")
    workspace = context.workspace
    surface = find_surface(workspace.settings.all_surfaces(), drawing.surface)
    if surface.needs == "items":
        raise UnsupportedError(
            f"{drawing.surface} answers requests that name items, and the log does not have these.",
            "Draw lists of a feed, a message or a search.",
        )
    with closing(Engine.open(workspace.folder)) as engine:
        least = context.settings.queries.min_users
        values = find_tellable_values(context.dataset, engine.state.catalogue, least)
        told = _find_tellable(context, engine), values, least
        drawer = _Drawer(context.dataset, engine, drawing, surface, *told)
        lists = list(islice(drawer.draw(context.options.seed), drawing.users))
        catalogue = engine.state.catalogue
        titles = {
            one: catalogue.title(catalogue.vocabulary.number(one))
            for _, items in lists
            for one in items
        }
    if not lists:
        raise DataError(
            f"no list of {drawing.surface} can be drawn: no "
            + (
                "logged text has results." if surface.needs else "user has a past that may be told."
            ),
            "Import events, or lower [queries] min_users.",
        )
    write_lists(drawing.out, drawing.surface, lists, titles)
    pairs = sum(len(items) for _, items in lists)
    return {"lists": len(lists), "pairs": pairs, "out": str(drawing.out)}


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
    """Attribute of users -> values that may be told: an item has them, too, and enough people.

    Args:
        dataset: users with their attributes.
        catalogue: items with theirs.
        min_users: people who must have a value.
    """
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
    """(U,) users who are no visitors."""
    ids = dataset.users.ids_of(np.arange(dataset.num_users, dtype=np.int32))
    return np.array([not user.startswith(VISITOR) for user in ids], np.bool_)


@dataclass(frozen=True, slots=True, eq=False)
class _Drawer:
    """Draws the lists of one surface.

    Args:
        dataset: users and logged requests.
        engine: answers.
        drawing: surface and length.
        surface: its settings.
        tellable: (N,) items of a past that a labeller may be told.
        values: attribute of users -> values that a labeller may be told.
        min_users: people who must have typed a text.
    """

    dataset: Dataset
    engine: Engine
    drawing: ListDrawing
    surface: SurfaceConfig
    tellable: BoolArray
    values: Mapping[str, frozenset[str]]
    min_users: int

    def draw(self, seed: int) -> Iterator[tuple[ListRequest, list[str]]]:
        """Lists of different requests, each with its items in order."""
        config, seen = self._without_end(), set[str]()
        asked = iter(self._requests(np.random.default_rng(seed)))
        while batch := list(islice(asked, _BATCH)):
            queries = self.engine.queries(batch)
            results = answer_whole(queries, config, self.engine.state)
            for query, result in zip(queries, results, strict=True):
                request = self._describe(visible_to(self.surface, query))
                items = result.items.item_nums[: self.drawing.length]
                if request is None or request.query in seen or not len(items):
                    continue
                seen.add(request.query)
                yield request, self.engine.item_ids(items)

    def _without_end(self) -> SurfaceConfig:
        """The surface without the filter; of a message also what was too much to be sent."""
        config = without_relevance_filter(self.surface)
        if config.min_value is None:
            return config
        longest = max(config.min_value.k, self.drawing.length)
        whole = config.min_value.model_copy(update={"k": longest})
        return config.model_copy(update={"min_value": whole})

    def _requests(self, random: np.random.Generator) -> Iterable[Request]:
        """Requests of users, in random order; of the newest logged texts, if these are answered."""
        name = self.drawing.surface
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
