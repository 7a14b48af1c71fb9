"""LLM tasks: a prompt with the schema of its answers, which are validated and never executed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Set
from dataclasses import dataclass
from importlib.resources import files
from typing import Annotated, Any, ClassVar, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serendip.data.privacy import holds_address, is_plain
from serendip.data.text import tokens
from serendip.errors import ConfigError
from serendip.llm.client import LlmRequest

_FENCE = "```"

MAX_VALUE_LENGTH = 120
"""Characters of a value that an LLM may choose."""


class TaskAnswer(BaseModel):
    """Base of all answers: they repeat the id of the data."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    id: str

    prompt: ClassVar[str]
    """Name and version of the prompt that is asked by default."""

    def find_problem(self, data: Mapping[str, Any]) -> str:
        """Why this is no answer to a question about ``data``; empty if it is one."""
        return ""


AnswerT = TypeVar("AnswerT", bound=TaskAnswer)


class WrongAnswer(ValueError):
    """Invalid answer; the message is sent back to the model."""


@dataclass(frozen=True, slots=True)
class Task(Generic[AnswerT]):
    """Kind of question: a prompt and the schema of its answers."""

    prompt: Prompt
    answers: type[AnswerT]

    @classmethod
    def of(cls, answers: type[AnswerT], prompt: str = "") -> Self:
        """The task of a kind of answers; empty = by their own prompt."""
        return cls(Prompt.named(prompt or answers.prompt), answers)

    def request(self, data: Mapping[str, Any], max_tokens: int) -> LlmRequest:
        """Build the request for some data."""
        schema = _to_strict_schema(self.answers.model_json_schema())
        return self.prompt.request(data, schema, max_tokens)

    def read(self, text: str, data: Mapping[str, Any]) -> AnswerT:
        """Parse and validate an answer; a code fence around the JSON is removed.

        Raises:
            WrongAnswer: it is not JSON, does not match the schema, has the id of other data, or is
                none by ``TaskAnswer.find_problem``.
        """
        try:
            answer = self.answers.model_validate_json(_remove_fence(text))
        except ValidationError as error:
            raise WrongAnswer(self._describe_error(error)) from None
        if "\0" in text or "\\u0000" in text:
            raise WrongAnswer("it holds signs that are no text")
        if answer.id != data_id(data):
            raise WrongAnswer("id: not that of the data")
        if problem := answer.find_problem(data):
            raise WrongAnswer(problem)
        return answer

    def _describe_error(self, error: ValidationError) -> str:
        # Without any text of the answer: it could be an injection.
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        if name and name not in self.answers.model_fields:
            return "a field that was not asked for"
        return f"{name or 'the whole answer'}: {first['msg']}"


def _to_strict_schema(schema: dict[str, Any]) -> dict[str, Any]:
    required = list(schema["properties"])  # strict servers demand all
    fields = {key: value for key, value in schema.items() if key not in ("title", "description")}
    strict: dict[str, Any] = json.loads(json.dumps({**fields, "required": required}))
    return strict


def _remove_fence(text: str) -> str:
    lines = text.strip().splitlines()
    if len(lines) > 2 and lines[0].startswith(_FENCE) and lines[-1].strip() == _FENCE:
        return "\n".join(lines[1:-1])
    return text


class Judgement(TaskAnswer):
    """Label of a pair of query and item."""

    prompt = "judge-1"

    label: Literal["good", "bad"]

    confidence: Annotated[float, Field(ge=0, le=1)]


class WrittenQueries(TaskAnswer):
    """Queries for an item."""

    prompt = "queries-1"

    queries: Annotated[
        list[Annotated[str, Field(max_length=80)]], Field(min_length=1, max_length=8)
    ]


class WrittenSynonyms(TaskAnswer):
    """Synonyms of a term; may be empty."""

    prompt = "synonyms-1"

    synonyms: Annotated[list[Annotated[str, Field(max_length=60)]], Field(max_length=6)]


class AttributeValue(TaskAnswer):
    """Value of an attribute of an item: one of those that the data name (``values``), or none."""

    prompt = "attribute-1"

    value: Annotated[str, Field(max_length=MAX_VALUE_LENGTH)]
    """One of the values of the data; empty if the item's texts do not tell."""

    def find_problem(self, data: Mapping[str, Any]) -> str:
        """See ``TaskAnswer``."""
        is_known = not self.value or self.value in data["values"]
        return "" if is_known else "value: not one of those of the data"


_MIN_NEW_WORDS = 3
"""Words of a description that are not in the title."""

Phrase = Annotated[str, Field(min_length=2, max_length=60)]


class Enrichment(TaskAnswer):
    """Texts for an item."""

    prompt = "enrich-1"

    description: Annotated[str, Field(max_length=400)]
    """Sentences about the item; may be empty."""

    keywords: Annotated[list[Phrase], Field(max_length=12)]
    """Names that people use for such an item."""

    attributes: Annotated[list[Phrase], Field(max_length=6)]
    """Properties that the item's texts state, as "name: value"."""

    def find_problem(self, data: Mapping[str, Any]) -> str:
        """See ``TaskAnswer``; all parts must be plain text."""
        parts = self.description, *self.keywords, *self.attributes
        if any(map(holds_address, parts)):
            return "it holds an address"
        return "" if all(map(is_plain, parts)) else "it holds signs that are no text"

    def texts(self, item: Mapping[str, Any]) -> dict[str, str]:
        """Select the useful texts of an item, as it was described in the question: field -> text.

        A description or keyword that only repeats the title is left out, and so is an attribute
        whose value is not in the item's texts.
        """
        title = set(tokens(item.get("title", "")))
        own = item.get("description", ""), *item.get("attributes", {}).values()
        stated, new = title.union(*map(tokens, own)), set(tokens(self.description)) - title
        # Scripts without spaces have no word counts: one new word is enough.
        least = _MIN_NEW_WORDS if self.description.isascii() else 1
        parts = {
            "description": [self.description] if len(new) >= least else [],
            "keywords": [text for text in self.keywords if set(tokens(text)) - title],
            "attributes": [text for text in self.attributes if _is_stated(text, stated)],
        }
        joined = {name: ", ".join(dict.fromkeys(texts)) for name, texts in parts.items()}
        return {name: " ".join(text.split()) for name, text in joined.items() if text.strip()}


def _is_stated(attribute: str, words: Set[str]) -> bool:
    name, _, value = attribute.partition(":")
    found = set(tokens(value))
    return bool(name.strip() and found) and found <= words


_FOLDER = files("serendip.llm") / "prompts"
_PLACEHOLDER = "{data}"
_ID_LENGTH = 12


@dataclass(frozen=True, slots=True)
class Prompt:
    """Prompt template: its name has a version, its user message a placeholder for the data."""

    name: str
    system: str
    user: str

    @classmethod
    def named(cls, name: str) -> Prompt:
        """Read the prompt file of this name."""
        return cls.of_text(name, (_FOLDER / f"{name}.md").read_text(encoding="utf-8"))

    @classmethod
    def of_text(cls, name: str, text: str) -> Prompt:
        """Parse a text with the headings ``# System`` and ``# User``.

        Raises:
            ConfigError: a heading is missing, or the placeholder does not occur exactly once.
        """
        before, _, user = text.partition("\n# User\n")
        system = before.strip().removeprefix("# System\n").strip()
        has_headings = system and user.strip() and before.strip() != system
        if not has_headings or user.count(_PLACEHOLDER) != 1:
            raise ConfigError(
                f"the prompt {name!r} has the wrong form.",
                f"It needs `# System` and `# User`, and {_PLACEHOLDER} once in the latter.",
            )
        return cls(name, system, user.strip())

    @property
    def digest(self) -> str:
        """Hash of the prompt's text."""
        return hashlib.sha256(f"{self.system}\0{self.user}".encode()).hexdigest()[:16]

    def request(
        self, data: Mapping[str, Any], schema: Mapping[str, Any], max_tokens: int
    ) -> LlmRequest:
        """Build the request for some data, with an ``id`` that the answer must repeat."""
        identifier = data_id(data)
        quoted = quote_data({**data, "id": identifier})
        user = self.user.replace(_PLACEHOLDER, f"<data>{quoted}</data>")
        return LlmRequest(self.system, user, self.name, schema, max_tokens, identifier)


def data_key(data: Mapping[str, Any]) -> str:
    """SHA-256 of data; authors of texts may try to make keys collide, so no shorter hash."""
    text = json.dumps(data, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def data_id(data: Mapping[str, Any]) -> str:
    """Beginning of the key, short enough for a model to repeat; reveals answers to other data."""
    return data_key(data)[:_ID_LENGTH]


# No text can end the block between ``<data>`` and ``</data>``, and text of the catalogue or of
# users appears nowhere else.
def quote_data(data: Mapping[str, Any]) -> str:
    """Quote data as a line of JSON without tags and non-printable characters."""
    text = json.dumps(data, ensure_ascii=False)
    return "".join(
        character if character.isprintable() and character not in "<>&" else _escape(character)
        for character in text
    )


def _escape(character: str) -> str:
    if character in "<>&":
        return f"\\u{ord(character):04x}"
    return json.dumps(character)[1:-1]
