"""A made world whose searches ask for items by words that no item has.

Items belong to needs. People ask for a need by one of its words, which no title has, and half of
them add a word of a title, mostly that of another item: words alone mislead. Whoever knows which
word asks for which need can answer, and that is what logged searches, queries that were written for
items, and labels teach.

Shapes: N items.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

START = 1_600_000_000

_LETTERS, _LENGTH = tuple("abcdefghijklmnopqrstuvwxyz"), 8
"""Of words. Random letters, so that no word is alike to another one."""


@dataclass(frozen=True)
class SearchWorld:
    """Needs, items, people and their searches; the same for the same numbers.

    Args:
        needs: number of needs.
        series: number of items of a need; each has another word in its title.
        words: number of words of a need.
        known_words: number of them that the first searches of the log use; the others are new to
            it in the last ones.
        users: number of people.
        steps: events of each.
        searched: share of the events that a search led to.
        seed: of everything.
    """

    needs: int = 10
    series: int = 8
    words: int = 4
    known_words: int = 3
    users: int = 150
    steps: int = 12
    searched: float = 0.7
    seed: int = 0

    @cached_property
    def _all_words(self) -> list[str]:
        rng = np.random.default_rng(self.seed)
        count = self.needs * self.words + self.series
        found: dict[str, None] = {}
        while len(found) < count:
            found["".join(rng.choice(_LETTERS, _LENGTH))] = None
        return list(found)

    @property
    def num_items(self) -> int:
        """N."""
        return self.needs * self.series

    def title(self, number: int) -> str:
        """Title of an item: the word of its series, and its number."""
        series = self._all_words[self.needs * self.words + number % self.series]
        return f"{series} {number}"

    def need_of(self, number: int) -> int:
        """Need of an item."""
        return number // self.series

    def items_of(self, need: int) -> list[str]:
        """Ids of the items of a need."""
        return [f"i{need * self.series + place}" for place in range(self.series)]

    def query(self, need: int, word: int, rng: np.random.Generator) -> str:
        """A search for a need by one of its words, half of them with a word of some title."""
        text = self._all_words[need * self.words + word]
        if rng.random() < 0.5:
            text += " " + self._all_words[self.needs * self.words + int(rng.integers(self.series))]
        return text

    def need_asked(self, text: str) -> int:
        """Need of a search, by its first word."""
        return self._all_words.index(text.split()[0]) // self.words

    def held_out_queries(self, count: int) -> list[tuple[str, int]]:
        """Different searches by all words, always the same: text, need."""
        rng = np.random.default_rng([self.seed, 2])
        drawn: dict[str, int] = {}
        while len(drawn) < count:
            need, word = int(rng.integers(self.needs)), int(rng.integers(self.words))
            drawn[self.query(need, word, rng)] = need
        return list(drawn.items())

    def write_files(self, folder: Path) -> None:
        """Write ``items.csv`` and ``events.csv``."""
        folder.mkdir(parents=True, exist_ok=True)
        titles = [(f"i{number}", self.title(number)) for number in range(self.num_items)]
        _write(folder / "items.csv", ("item_id", "title"), titles)
        names = ("user_id", "item_id", "timestamp", "action", "query", "request_id", "surface")
        _write(folder / "events.csv", names, list(self._events()))

    def _events(self) -> Iterator[tuple[Any, ...]]:
        """Events in order of time: everybody makes a step, then everybody the next one."""
        rng = np.random.default_rng([self.seed, 3])
        favourites = rng.integers(0, self.needs, (self.users, 3))
        for step in range(self.steps):
            known = self.words if step >= 0.75 * self.steps else self.known_words
            for user in range(self.users):
                need = int(favourites[user, rng.integers(3)])
                place = int(self.series * rng.random() ** 2)  # the first ones are chosen more often
                item = f"i{need * self.series + place}"
                time = START + 3_600 * (step * self.users + user)
                if rng.random() < self.searched:
                    text = self.query(need, int(rng.integers(known)), rng)
                    request = f"r{step}-{user}"
                    yield f"u{user}", item, time, "click", text, request, "search"
                else:
                    yield f"u{user}", item, time, "click", "", "", ""


def _write(path: Path, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(names)
        writer.writerows(rows)
