"""LLM task: words the reason for a shown item from the evidence of its sentence, and nothing else.

An answer is refused unless it has every name of the evidence, and if it has a number, a capitalised
word or a quoted text that the evidence does not have. What a catalogue names besides is refused by
``NamedThings``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import Field

from serendip.data.privacy import holds_address, is_plain
from serendip.data.text import normalise
from serendip.llm.prompts import Prompt
from serendip.llm.tasks import Task, TaskAnswer, WrongAnswer

MAX_LENGTH = 160
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_QUOTED = re.compile(r"[“‘\"«「『]([^”’\"»」』]+)[”’\"»」』]")
_END = re.compile(r"[.!?。]\s+\S")


class WordedReason(TaskAnswer):
    """A reason in other words."""

    sentence: Annotated[str, Field(min_length=8, max_length=MAX_LENGTH)]
    """One sentence."""


class ReasonTask(Task[WordedReason]):
    """Task that words reasons; the data are {"item", "reason", "names"}."""

    def read(self, text: str, data: Mapping[str, Any]) -> WordedReason:
        """See ``Task.read``.

        Raises:
            WrongAnswer: also if the sentence lacks a name, names anything else, is more than one
                sentence, or has an address or unusual characters.
        """
        answer = super().read(text, data)
        problem = find_problem(answer.sentence, data)
        if problem:
            raise WrongAnswer(problem)
        return answer


def reason_task(prompt: str = "reason-1") -> ReasonTask:
    """Create the task that words reasons, by the name of its prompt."""
    return ReasonTask(Prompt.named(prompt), WordedReason)


def find_problem(sentence: str, data: Mapping[str, Any]) -> str:
    """Why a sentence is not a wording of a reason; empty if it is one."""
    if holds_address(sentence) or not is_plain(sentence):
        return "it holds an address, or signs that are no text"
    if _END.search(_without_names(sentence, data)):
        return "it is more than one sentence"
    said = normalise(sentence)
    if any(normalise(name) not in said for name in data["names"]):
        return "a name of the evidence is missing"
    given = normalise(" ".join(_texts(data)))
    known = set(given.split())
    rest = _without_names(sentence, data)
    for place, word in enumerate(_WORD.findall(rest)):
        named = any(sign.isdigit() for sign in word) or (place > 0 and word[0].isupper())
        if named and not set(normalise(word).split()) <= known:
            return "it names something that the evidence does not name"
    if any(normalise(quoted) not in given for quoted in _QUOTED.findall(sentence)):
        return "it quotes something that the evidence does not name"
    return ""


def _texts(data: Mapping[str, Any]) -> list[str]:
    return [str(data["item"]), str(data["reason"]), *map(str, data["names"])]


def _without_names(sentence: str, data: Mapping[str, Any]) -> str:
    """The sentence with one lower-case word in place of each name and of the item."""
    for name in sorted((data["item"], *data["names"]), key=len, reverse=True):
        if name:
            sentence = re.sub(re.escape(name), "x", sentence, flags=re.IGNORECASE)
    return sentence


@dataclass(frozen=True, slots=True, eq=False)
class NamedThings:
    """What a catalogue names: values of attributes, and titles of two words or more.

    Args:
        keys: normal forms.
        longest: largest number of words of one.
    """

    keys: frozenset[str]
    longest: int

    @classmethod
    def of(cls, values: Iterable[str], titles: Iterable[str]) -> Self:
        """Collect the normal forms; single words of titles are too common."""
        keys = set(map(normalise, values))
        keys |= {key for key in map(normalise, titles) if " " in key}
        keys.discard("")
        return cls(frozenset(keys), max((key.count(" ") + 1 for key in keys), default=0))

    def others(self, sentence: str, data: Mapping[str, Any]) -> Iterator[str]:
        """What a sentence names of the catalogue that the evidence of ``data`` does not name."""
        given = f" {normalise(' '.join(_texts(data)))} "
        words = normalise(sentence).split()
        for begin in range(len(words)):
            for length in range(1, min(self.longest, len(words) - begin) + 1):
                key = " ".join(words[begin : begin + length])
                if key in self.keys and f" {key} " not in given:
                    yield key
