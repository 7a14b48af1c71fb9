"""LLM tasks: a prompt with the schema of its answers, which are validated and never executed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serendip.llm.client import LlmRequest
from serendip.llm.prompts import Prompt, data_id

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
