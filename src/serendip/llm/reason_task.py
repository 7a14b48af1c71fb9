"""LLM task: words the reason for a shown item from the evidence of its sentence, and nothing else.

An answer is refused unless it has every name of the evidence and is of the same kind: "popular" is
no wording of "similar". It is refused, too, if it has a negation, a number, a
capitalised word, a word of a script without capitals or a quoted text that the evidence does not
have; ``plain_words`` lists what names nothing. A name without a capital passes, except what the
catalogue names, which ``NamedThings`` refuses.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import Field

from serendip.data.privacy import holds_address, is_plain
from serendip.data.text import normalise
from serendip.llm.plain_words import (
    CLAIMS,
    FIRST_WORDS,
    KINDS,
    KOREAN_STEMS,
    KOREAN_WORDS,
    NEGATED,
    NEGATIONS,
    NUMBERS,
    PARTICLES,
)
from serendip.llm.tasks import TaskAnswer

MAX_LENGTH = 160
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_QUOTED = re.compile(r"[“‘\"«「『]([^”’\"»」』]+)[”’\"»」』]")
_END = re.compile(r"[.!?。]\s+\S")


class WordedReason(TaskAnswer):
    """A reason in other words; the data are {"item", "reason", "names"}."""

    prompt = "reason-1"

    sentence: Annotated[str, Field(min_length=8, max_length=MAX_LENGTH)]
    """One sentence."""

    def find_problem(self, data: Mapping[str, Any]) -> str:
        """See ``TaskAnswer``."""
        return find_problem(self.sentence, data)


def find_problem(sentence: str, data: Mapping[str, Any]) -> str:
    """Why a sentence is not a wording of a reason; empty if it is one."""
    if holds_address(sentence) or not is_plain(sentence):
        return "it holds an address, or signs that are no text"
    if _END.search(_without_names(sentence, data)):
        return "it is more than one sentence"
    said = normalise(sentence)
    if not all(_has_name(said, name) for name in data["names"]):
        return "a name of the evidence is missing"
    if not _keeps_kind(sentence, data):
        return "it is of another kind than the reason"
    given = normalise(" ".join(_texts(data)))
    known = set(given.split())
    words = _WORD.findall(_without_names(sentence, data))
    told = set(normalise(_without_names(str(data["reason"]), data)).split())
    if any(_negates(word) and normalise(word) not in told for word in words):
        return "it has a negation"
    for place, word in enumerate(words):
        if _may_name(word, place == 0) and not _is_known(word, known):
            return "it names something that the evidence does not name"
    if any(normalise(quoted) not in given for quoted in _QUOTED.findall(sentence)):
        return "it quotes something that the evidence does not name"
    return ""


def _has_name(said: str, name: str) -> bool:
    """Whether a normalised text has a name as whole words; a Korean particle may follow."""
    return bool(re.search(rf"(?<!\w){re.escape(normalise(name))}(?![0-9a-z])", said))


def _keeps_kind(sentence: str, data: Mapping[str, Any]) -> bool:
    """Whether a sentence claims what the reason does, and no other kind of evidence."""
    said, told = (normalise(_without_names(text, data)) for text in (sentence, data["reason"]))
    kind = next((kind for kind, words in KINDS.items() if re.search(words, told)), "")
    if not kind or not re.search(KINDS[kind], said):
        return False
    return all(re.search(words, told) or not re.search(words, said) for words in CLAIMS.values())


def _negates(word: str) -> bool:
    return normalise(word) in NEGATIONS or any(part in word for part in NEGATED)


def _may_name(word: str, is_first: bool) -> bool:
    """Whether a word, by its look, may name something."""
    if any(sign.isdigit() for sign in word) or normalise(word) in NUMBERS:
        return True
    if any(unicodedata.category(sign) == "Lo" for sign in word):  # no capitals in its script
        return word not in PARTICLES | KOREAN_WORDS and not word.startswith(KOREAN_STEMS)
    return word[0].isupper() and not (is_first and normalise(word) in FIRST_WORDS)


def _is_known(word: str, known: set[str]) -> bool:
    """Whether the evidence has a word, which in Korean may have another particle."""
    parts = normalise(word).split()
    if set(parts) <= known:
        return True
    return len(parts) == 1 and any(
        parts[0].startswith(one) and parts[0][len(one) :] in PARTICLES for one in known
    )


def _texts(data: Mapping[str, Any]) -> list[str]:
    return [str(data["item"]), str(data["reason"]), *map(str, data["names"])]


def _without_names(sentence: str, data: Mapping[str, Any]) -> str:
    """The sentence with one lower-case word in place of each name and of the item."""
    for name in sorted((data["item"], *data["names"]), key=len, reverse=True):
        if name:
            sentence = re.sub(re.escape(name), " x ", sentence, flags=re.IGNORECASE)
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
