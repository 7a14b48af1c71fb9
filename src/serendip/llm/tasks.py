"""LLM tasks: a prompt with the schema of its answers, which are validated and never executed.

- ``judge_task`` labels a query and an item as good or bad, with a confidence;
- ``queries_task`` writes queries for an item, as people would type them who do not know its title;
- ``synonyms_task`` proposes synonyms; none is searched before people accept it;
- ``enrich_task`` writes what an item with little text lacks: a description, keywords, attributes.

Enrichments are validated before they are stored. An answer is refused as a whole if a length is
wrong or a text has an address or odd characters. A part is dropped if it only repeats the title, or
if it is an attribute with words that the item does not have. Whether the rest helps to find the
item is measured by the enrichment gate.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serendip.data.privacy import holds_address, is_plain
from serendip.data.text import tokens
from serendip.llm.client import LlmRequest
from serendip.llm.prompts import Prompt, data_id

_FENCE = "```"


class TaskAnswer(BaseModel):
    """What all answers have: the id of what was asked about."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    id: str
    """As it was given."""


AnswerT = TypeVar("AnswerT", bound=TaskAnswer)


class WrongAnswer(ValueError):
    """An answer that is not as asked for; the message says so to whoever gave it."""


@dataclass(frozen=True, slots=True)
class Task(Generic[AnswerT]):
    """One kind of question.

    Args:
        prompt: what is asked.
        answers: schema of what comes back.
    """

    prompt: Prompt
    answers: type[AnswerT]

    def request(self, data: Mapping[str, Any], max_tokens: int) -> LlmRequest:
        """The question about some data."""
        return self.prompt.request(data, _closed(self.answers.model_json_schema()), max_tokens)

    def read(self, text: str, data: Mapping[str, Any]) -> AnswerT:
        """The answer that a text holds, about this data.

        A fence around the whole of it is taken off, as models add one out of habit.

        Raises:
            WrongAnswer: it is no JSON, has not the fields, or is about something else.
        """
        try:
            found = self.answers.model_validate_json(_unfenced(text))
        except ValidationError as error:
            raise WrongAnswer(self._complaint(error)) from None
        if found.id != data_id(data):
            raise WrongAnswer("id: not that of the data")
        return found

    def _complaint(self, error: ValidationError) -> str:
        """What is wrong, in no word of the answer's own."""
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        if name and name not in self.answers.model_fields:
            return "a field that was not asked for"
        return f"{name or 'the whole answer'}: {first['msg']}"


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """With all fields required, as strict servers want it, and without what is for people."""
    required = list(schema["properties"])
    told = {key: value for key, value in schema.items() if key not in ("title", "description")}
    closed: dict[str, Any] = json.loads(json.dumps({**told, "required": required}))
    return closed


def _unfenced(text: str) -> str:
    lines = text.strip().splitlines()
    if len(lines) > 2 and lines[0].startswith(_FENCE) and lines[-1].strip() == _FENCE:
        return "\n".join(lines[1:-1])
    return text


class Judgement(TaskAnswer):
    """One judged pair."""

    label: Literal["good", "bad"]
    """Whether the item is what was asked for."""

    confidence: Annotated[float, Field(ge=0, le=1)]
    """How sure the judge is."""


def judge_task(prompt: str = "judge-1") -> Task[Judgement]:
    """The task by the name and version of its prompt."""
    return Task(Prompt.named(prompt), Judgement)


class WrittenQueries(TaskAnswer):
    """Searches for one item."""

    queries: Annotated[
        list[Annotated[str, Field(max_length=80)]], Field(min_length=1, max_length=8)
    ]
    """As somebody would type them."""


def queries_task(prompt: str = "queries-1") -> Task[WrittenQueries]:
    """The task by the name and version of its prompt."""
    return Task(Prompt.named(prompt), WrittenQueries)


class WrittenSynonyms(TaskAnswer):
    """Other words for one term; none is an answer, too."""

    synonyms: Annotated[list[Annotated[str, Field(max_length=60)]], Field(max_length=6)]
    """What other people would type who mean the same."""


def synonyms_task(prompt: str = "synonyms-1") -> Task[WrittenSynonyms]:
    """The task by the name and version of its prompt."""
    return Task(Prompt.named(prompt), WrittenSynonyms)


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
