"""Deletion test of the reasons of a surface: its lists with and without the evidence named.

What reasons name, and the same requests without it, is one class for each kind:

==============  ====================================  ==============================================
``PastItems``   items of the user's history           the history without them, or without others
``TypedWords``  words of the text that the item has   the text without one of them, or another word
``SourceValue`` a value of the source item            the item without it, or without another value
==============  ====================================  ==============================================
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import numpy as np

from serendip.data import Item, Query
from serendip.data.text import normalise, words
from serendip.engine.explanations.explain import Explainer, Ground
from serendip.engine.explanations.influence import find_influence
from serendip.engine.live.state import ItemUpdater
from serendip.engine.stages.selection import Result
from serendip.engine.stages.surfaces import SurfaceConfig
from serendip.engine.state import EngineState
from serendip.evaluate.lists import Deletion, FaithfulnessFigures, summarise_deletions
from serendip.jobs.whole_answers import answer_whole
from serendip.search.language import stem

NEWEST = 20
"""Items of the history that others are drawn from."""

Thing: TypeAlias = int | str
"""The number of an item, a word or a value."""


class Asked(NamedTuple):
    """A request and the state that answers it."""

    query: Query
    state: EngineState


class Named(NamedTuple):
    """What a reason names, and what else of its kind could be taken away."""

    named: Sequence[Thing] = ()
    others: Sequence[Thing] = ()


class NamedEvidence(ABC):
    """A kind of things that reasons name."""

    @abstractmethod
    def find(self, asked: Asked, ground: Ground, item: int) -> Named:
        """What the reason for an item names; nothing if it names nothing of this kind."""

    @abstractmethod
    def take_away(self, asked: Asked, taken: Sequence[Thing]) -> Asked:
        """The request without some things."""


class PastItems(NamedEvidence):
    """Items of the history; those taken away are not proposed either."""

    def find(self, asked: Asked, ground: Ground, item: int) -> Named:
        """The items that the reason rests on, and the newest others."""
        history = asked.query.history
        if len(asked.query.source_items):  # which lists beside items rest on, whoever chose them
            return Named()
        named = sorted(set(ground.rests_on) & set(history.items.tolist()))
        newest = list(dict.fromkeys(history.item_nums[::-1].tolist()))[:NEWEST]
        return Named(named, [one for one in newest if one not in ground.rests_on])

    def take_away(self, asked: Asked, taken: Sequence[Thing]) -> Asked:
        """The request as if the user had never chosen the items."""
        query, items = asked.query, np.array(taken, np.int32)
        without = replace(
            query,
            history=query.history.without(items),
            exclude=np.concatenate([query.exclude, items]),
            again=query.again[~np.isin(query.again, items)],
        )
        return Asked(without, asked.state)


@dataclass(frozen=True, slots=True)
class TypedWords(NamedEvidence):
    """A word that the item has, and one that it has not.

    Queries of other texts are read as requests would read them, corrected and encoded.
    """

    read: Callable[[Sequence[Query]], list[Query]]

    def find(self, asked: Asked, ground: Ground, item: int) -> Named:
        """The first word of those that the item has, and all that it has not."""
        query, state = asked
        if ground.kind != "word":
            return Named()
        lexical = state.searcher.lexical
        known = lexical.analyse(state.catalogue[item]).known
        typed = state.searcher.read(query.text, query.is_literal).content.text.split(" ")
        having = [w for w in typed if w in known or stem(w, lexical.language) in known]
        return Named(having[:1], [word for word in typed if word not in having])

    def take_away(self, asked: Asked, taken: Sequence[Thing]) -> Asked:
        """The search for the other words of the text."""
        left = [word for word in words(normalise(asked.query.searched)) if word not in taken]
        (query,) = self.read([replace(asked.query, text=" ".join(left))])
        return Asked(query, asked.state)


@dataclass(frozen=True, slots=True)
class SourceValue(NamedEvidence):
    """A value of an attribute of the source item."""

    updater: ItemUpdater

    def find(self, asked: Asked, ground: Ground, item: int) -> Named:
        """The value that the reason names, and all others of the item."""
        value = ground.names.get("value")
        if not isinstance(value, str) or not len(asked.query.source_items):
            return Named()
        values = asked.state.catalogue.words(ground.rests_on[-1])
        return Named([value], [other for other in values if other != value])

    def take_away(self, asked: Asked, taken: Sequence[Thing]) -> Asked:
        """The request to a state in which its item was posted again without the values."""
        query, state = asked
        item = _without(state.catalogue[int(query.source_items[-1])], taken)
        return Asked(query, self.updater.update([item], state))


def _without(item: Item, gone: Sequence[Thing]) -> Item:
    left = {
        name: tuple(v for v in value if v not in gone) if isinstance(value, tuple) else value
        for name, value in item.attributes.items()
        if value not in gone
    }
    return replace(item, attributes=left)


MAX_LISTS = 60
"""Lists that are measured: of as many users, drawn at random."""

PLACES = (0, 2, 4)
"""Places whose reasons are tested."""

SHOWN = 10

ReasonChooser: TypeAlias = Callable[[EngineState, Result], Sequence[Ground | None]]


def choose_reasons(state: EngineState, result: Result) -> Sequence[Ground | None]:
    """The reasons that an answer gives for its first places."""
    page = result.items.take(slice(0, SHOWN))
    words = (page.fields[name].tolist() for name in ("title match", "bm25"))
    influence = find_influence(result, state, page)
    return Explainer(state, result.query, page.item_nums, influence=influence).chosen(*words)


def measure_faithfulness(
    queries: Sequence[Query],
    surface: SurfaceConfig,
    state: EngineState,
    seed: int = 0,
    choose: ReasonChooser = choose_reasons,
    evidence: Sequence[NamedEvidence] = (PastItems(),),
) -> FaithfulnessFigures:
    """Test the reasons of at most ``MAX_LISTS`` lists, one for each user.

    An item that is no longer in the list has its last place. Of each user one query is drawn;
    without a text or a source item it has a history of two events at least, of which one is deleted
    and the other is left. The surface is asked without exploration, whose draws follow the history.
    """
    rng = np.random.default_rng(seed)
    surface = surface.model_copy(update={"exploration": None})
    deletions, kinds, left_out = list[Deletion](), list[list[str]](), 0
    for query in _draw_lists(queries, rng):
        asked = Asked(query, state)
        result = _answer(asked, surface)
        grounds = choose(state, result)
        kinds.append([ground.kind for ground in grounds if ground is not None])
        for place in PLACES:
            ground = grounds[place] if place < len(grounds) else None
            if ground is None:
                continue
            item = int(result.items.item_nums[place])
            found = ((kind, kind.find(asked, ground, item)) for kind in evidence)
            kind, (named, others) = next((one for one in found if one[1].named), (None, Named()))
            if kind is None:
                continue
            if len(others) < len(named):  # fewer would cost fewer places, whatever they are
                left_out += 1
                continue
            rows = rng.choice(len(others), len(named), replace=False)
            lost = [
                _place(_answer(kind.take_away(asked, taken), surface), item) - place
                for taken in (named, [others[row] for row in rows.tolist()])
            ]
            deletions.append(Deletion(ground.kind, *lost))
    return summarise_deletions(deletions, kinds, left_out)


def _draw_lists(queries: Sequence[Query], rng: np.random.Generator) -> list[Query]:
    """One query of each of at most ``MAX_LISTS`` users, of those with something to name."""
    of_user: dict[str, list[Query]] = {}
    for query in queries:
        if len(query.history) > 1 or query.text or len(query.source_items):
            of_user.setdefault(query.user_id, []).append(query)
    users = sorted(of_user)
    chosen = [users[row] for row in np.sort(rng.permutation(len(users))[:MAX_LISTS]).tolist()]
    return [of_user[user][int(rng.integers(len(of_user[user])))] for user in chosen]


def _answer(asked: Asked, surface: SurfaceConfig) -> Result:
    return answer_whole([asked.query], surface, asked.state)[0]


def _place(result: Result, item: int) -> int:
    places = np.flatnonzero(result.items.item_nums == item)
    return int(places[0]) if len(places) else len(result.items)
