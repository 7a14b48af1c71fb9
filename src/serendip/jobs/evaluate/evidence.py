"""What the reasons of lists name, and the same requests without it: one class for each kind.

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
from serendip.engine.explanations.reason_choice import Ground
from serendip.engine.live.state import ItemUpdater
from serendip.engine.state import EngineState
from serendip.search.stems import stem

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
    def take_away(self, asked: Sequence[Asked], taken: Sequence[Sequence[Thing]]) -> list[Asked]:
        """Each request without some things."""


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

    def take_away(self, asked: Sequence[Asked], taken: Sequence[Sequence[Thing]]) -> list[Asked]:
        """The requests as if the users had never chosen the items."""
        without = []
        for (query, state), numbers in zip(asked, taken, strict=True):
            items = np.array(numbers, np.int32)
            query = replace(
                query,
                history=query.history.without(items),
                exclude=np.concatenate([query.exclude, items]),
                again=query.again[~np.isin(query.again, items)],
            )
            without.append(Asked(query, state))
        return without


@dataclass(frozen=True, slots=True)
class TypedWords(NamedEvidence):
    """A word that the item has, and one that it has not.

    Args:
        read: queries of other texts as requests would read them, corrected and encoded.
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

    def take_away(self, asked: Sequence[Asked], taken: Sequence[Sequence[Thing]]) -> list[Asked]:
        """The searches for the other words of the texts."""
        texts = [
            " ".join(word for word in words(normalise(query.searched)) if word not in gone)
            for (query, _), gone in zip(asked, taken, strict=True)
        ]
        shorter = [replace(one.query, text=text) for one, text in zip(asked, texts, strict=True)]
        read = self.read(shorter)
        return [Asked(query, one.state) for query, one in zip(read, asked, strict=True)]


@dataclass(frozen=True, slots=True)
class SourceValue(NamedEvidence):
    """A value of an attribute of the source item.

    Args:
        updater: posts items.
    """

    updater: ItemUpdater

    def find(self, asked: Asked, ground: Ground, item: int) -> Named:
        """The value that the reason names, and all others of the item."""
        value = ground.names.get("value")
        if not isinstance(value, str) or not len(asked.query.source_items):
            return Named()
        values = asked.state.catalogue.words(ground.rests_on[-1])
        return Named([value], [other for other in values if other != value])

    def take_away(self, asked: Sequence[Asked], taken: Sequence[Sequence[Thing]]) -> list[Asked]:
        """The requests to states in which their items were posted again without the values.

        Each state has one new version of many items: their others do not see it, or hardly.
        """
        rounds: list[dict[int, tuple[int, Item]]] = []
        for row, ((query, state), gone) in enumerate(zip(asked, taken, strict=True)):
            source = int(query.source_items[-1])
            free = next((one for one in rounds if source not in one), None)
            if free is None:
                rounds.append(free := {})
            free[source] = row, _without(state.catalogue[source], gone)
        without = list(asked)
        for items in rounds:
            changed = self.updater.update([item for _, item in items.values()], asked[0].state)
            for row, _ in items.values():
                without[row] = Asked(asked[row].query, changed)
        return without


def _without(item: Item, gone: Sequence[Thing]) -> Item:
    """An item without values of its attributes."""
    left = {
        name: tuple(v for v in value if v not in gone) if isinstance(value, tuple) else value
        for name, value in item.attributes.items()
        if value not in gone
    }
    return replace(item, attributes=left)
