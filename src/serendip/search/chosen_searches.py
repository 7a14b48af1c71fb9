"""Items by the searches after which people chose them: what they are called for, not what they say.

A gift is rarely called one. The texts of such searches are indexed with the generated text of an
item, so that whoever searches the same finds it beside the items that have the words, and filters,
counts and orders take it in (click-through document expansion; Xue et al. 2004, "Optimizing web
search using web click-through data").
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from serendip.data import Artefact, Catalogue, Item, Strings, normalise
from serendip.data.events.search_log import LoggedRequest
from serendip.data.privacy import VISITOR, is_private
from serendip.search.spelling import english_word_frequencies

MOST_SEARCHES = 20
"""Of an item: those of most people."""

_MOST_CHARACTERS = 60


@dataclass(frozen=True, slots=True, eq=False)
class ChosenSearches(Artefact):
    """The searches after which items were chosen; an item that is posted again keeps them."""

    texts: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, catalogue: Catalogue, requests: Sequence[LoggedRequest], min_users: int
    ) -> ChosenSearches:
        """Read searches after which enough people, no generated visitor ids, chose an item."""
        texts = _without_slips(catalogue, find_searches(requests, min_users))
        return cls({number: ". ".join(some) for number, some in texts.items()})

    def add_to(self, number: int, item: Item) -> Item:
        """An item with its searches behind its generated text."""
        texts = (item.generated_text, self.texts.get(number, ""))
        return replace(item, generated_text=". ".join(filter(None, texts)))

    def add_to_all(self, catalogue: Catalogue) -> Catalogue:
        """A catalogue with the searches of its items."""
        items = [self.add_to(number, catalogue[number]) for number in self.texts]
        return catalogue.with_late(items) if items else catalogue

    def stored(self) -> dict[str, Any]:
        """Items, and their searches as strings."""
        numbers = np.array([*self.texts], np.int32)
        return {"items": numbers, "texts": Strings.of(self.texts.values())}

    @classmethod
    def restored(cls, values: Mapping[str, Any]) -> Self:
        """See ``Artefact``."""
        return cls(dict(zip(values["items"].tolist(), values["texts"], strict=True)))


def _without_slips(catalogue: Catalogue, texts: dict[int, list[str]]) -> dict[int, list[str]]:
    """The searches whose words are English or of the catalogue: others would not be corrected."""
    unsure = {word for some in texts.values() for text in some for word in text.split(" ")}
    unsure -= english_word_frequencies().keys()
    for item in catalogue if unsure else ():
        text = item.text(("title", "description", *item.attributes))
        unsure.difference_update(normalise(text).split(" "))
    right = {
        number: [text for text in some if unsure.isdisjoint(text.split(" "))]
        for number, some in texts.items()
    }
    return {number: some for number, some in right.items() if some}


def find_searches(requests: Sequence[LoggedRequest], min_users: int) -> dict[int, list[str]]:
    """Item number -> normal forms of the searches after which enough people chose it."""
    people: defaultdict[tuple[int, str], set[str]] = defaultdict(set)
    for request in requests:
        text = normalise(request.text)
        is_shown = 0 < len(text) <= _MOST_CHARACTERS and not is_private(request.text)
        if is_shown and not request.user_id.startswith(VISITOR):
            for number in request.chosen.tolist():
                people[number, text].add(request.user_id)
    found: defaultdict[int, list[str]] = defaultdict(list)
    for (number, text), users in sorted(people.items(), key=lambda pair: (-len(pair[1]), pair[0])):
        if len(users) >= min_users and len(found[number]) < MOST_SEARCHES:
            found[number].append(text)
    return dict(found)
