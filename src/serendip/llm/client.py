"""LLM client protocol: a request in, an answer or a classified failure out.

Implementations: ``openai`` (any OpenAI-compatible server), ``local`` (a small model on this
machine) and ``ScriptedLlm`` (a deterministic function, for tests, examples and dry runs). Clients
try once: the caller counts every attempt before it is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

FailureKind = Literal[
    "timeout",
    "connection",
    "server",
    "rate",
    "quota",
    "denied",
    "rejected",
    "refused",
    "truncated",
    "invalid",
]

PASSING: frozenset[FailureKind] = frozenset({"timeout", "connection", "server", "rate"})
"""The same question may succeed a little later."""

FINAL: frozenset[FailureKind] = frozenset({"quota", "denied"})
"""No other question will succeed either: the day's quota is used up, or the key is wrong."""

MENDABLE: frozenset[FailureKind] = frozenset({"truncated", "invalid"})
"""The answer may be right once it is told what is wrong with it."""

UNBILLED: frozenset[FailureKind] = frozenset({"rate", "quota", "denied", "rejected"})
"""Nothing was computed, so nothing is to be paid for; after a timeout that may be otherwise."""

_LONGEST_MESSAGE = 200


@dataclass(frozen=True, slots=True)
class LlmRequest:
    """One question.

    Args:
        system: who answers, and by which rules.
        user: the question, with everything of the catalogue or of users quoted as data.
        schema_name: of the answer.
        schema: JSON schema of the answer.
        max_tokens: length of the answer at most.
        data_id: what the answer has to call the data.
        earlier: (answer, what is wrong with it) of attempts before.
    """

    system: str
    user: str
    schema_name: str
    schema: Mapping[str, Any]
    max_tokens: int
    data_id: str = ""
    earlier: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class LlmAnswer:
    """What came back.

    Args:
        text: of the answer, unchecked; it can be written as UTF-8.
        sent, answered: tokens that the server has counted; None = it does not say.
    """

    text: str
    sent: int | None = None
    answered: int | None = None


class LlmFailure(Exception):
    """A question without an answer. Never leaves ``serendip.llm``: failures become rows.

    Args:
        kind: what happened.
        message: one line of it, without anything that no terminal should be told.
        retry_after: seconds after which the server wants to be asked again; None = it says nothing.
        answer: what came back all the same, and is to be paid for.
    """

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        retry_after: float | None = None,
        answer: LlmAnswer | None = None,
    ) -> None:
        printable = "".join(letter if letter.isprintable() else " " for letter in message)
        self.message = " ".join(printable.split())[:_LONGEST_MESSAGE]
        super().__init__(f"{kind}: {self.message}")
        self.kind = kind
        self.retry_after = retry_after
        self.answer = answer


class Llm(Protocol):
    """Something that answers."""

    @property
    def model(self) -> str:
        """Name of the model; answers of another one are other answers."""
        ...

    def answer(self, request: LlmRequest) -> LlmAnswer:
        """One attempt.

        Raises:
            LlmFailure: there is no answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class ScriptedLlm:
    """Answers by a function of the request.

    Args:
        script: request -> text of the answer; may raise ``LlmFailure``.
        model: its name.
    """

    script: Callable[[LlmRequest], str]
    model: str = "scripted"

    def answer(self, request: LlmRequest) -> LlmAnswer:
        """What the script says; a token is four letters."""
        text = self.script(request)
        return LlmAnswer(text, len(request.system + request.user) // 4, len(text) // 4)
