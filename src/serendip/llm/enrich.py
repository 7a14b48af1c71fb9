"""Writes what a thin item lacks by an LLM: a description, keywords, attributes.

What comes back is checked before anything keeps it: lengths and no addresses, or the answer is
wrong as a whole; more than the title says, and attributes in no words but the item's own, or that
part is left out. Whether it helps to find the item no check can say; a gate does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field

from serendip.data.privacy import holds_address, is_plain
from serendip.data.text import tokens
from serendip.llm.prompt import Prompt
from serendip.llm.task import Task, TaskAnswer, WrongAnswer

_FEWEST_WORDS, _FEWEST_NEW_WORDS = 5, 3

Phrase = Annotated[str, Field(min_length=2, max_length=60)]


class Enrichment(TaskAnswer):
    """What was written about one item."""

    description: Annotated[str, Field(max_length=400)]
    """Sentences; empty where there is nothing to say."""

    keywords: Annotated[list[Phrase], Field(max_length=12)]
    """What people call such an item."""

    attributes: Annotated[list[Phrase], Field(max_length=6)]
    """``name: value``."""

    def texts(self, item: Mapping[str, Any]) -> dict[str, str]:
        """Field -> text, of what says something about an item that it may say.

        A description or keyword that only repeats the title is left out, and so is an attribute
        whose value the item does not state.

        Args:
            item: what was told of it: {"title", "description", "attributes"}.
        """
        title, said = set(tokens(item.get("title", ""))), set(tokens(" ".join(_strings(item))))
        new = [one for one in self.keywords if set(tokens(one)) - title]
        stated = [one for one in self.attributes if _is_stated(one, said)]
        found = {
            "description": self.description if _says_more(self.description, title) else "",
            "keywords": ", ".join(dict.fromkeys(new)),
            "attributes": ", ".join(dict.fromkeys(stated)),
        }
        return {name: " ".join(text.split()) for name, text in found.items() if text.strip()}


class EnrichTask(Task[Enrichment]):
    """The task, whose answers are plain text."""

    def read(self, text: str, data: Mapping[str, Any]) -> Enrichment:
        """See ``Task.read``.

        Raises:
            WrongAnswer: also where a text holds an address, or signs that no description has.
        """
        found = super().read(text, data)
        for one in (found.description, *found.keywords, *found.attributes):
            if holds_address(one):
                raise WrongAnswer("it holds an address")
            if not is_plain(one):
                raise WrongAnswer("it holds signs that are no text")
        return found


def enrich_task(prompt: str = "enrich-1") -> EnrichTask:
    """The task by the name and version of its prompt."""
    return EnrichTask(Prompt.named(prompt), Enrichment)


def _says_more(description: str, title: set[str]) -> bool:
    """Whether it has enough words, some of them new; where no spaces are written, nobody counts."""
    words = tokens(description)
    is_long = len(words) >= _FEWEST_WORDS and len(set(words) - title) >= _FEWEST_NEW_WORDS
    return is_long or (not description.isascii() and bool(set(words) - title))


def _is_stated(attribute: str, said: set[str]) -> bool:
    """Whether it is a ``name: value``, the value in words of the item."""
    name, _, value = attribute.partition(":")
    words = set(tokens(value))
    return bool(name.strip() and words) and words <= said


def _strings(told: object) -> Iterator[str]:
    """Every text inside of what is told about an item."""
    if isinstance(told, str):
        yield told
    elif isinstance(told, Mapping):
        for one in told.values():
            yield from _strings(one)
