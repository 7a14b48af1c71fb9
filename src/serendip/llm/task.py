"""A task of an LLM: a prompt and the schema of its answers, which are checked, never executed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from serendip.llm.client import LlmRequest
from serendip.llm.prompt import Prompt, data_id

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
