"""LLM client protocol: a request in, an answer or a classified failure out.

Implementations: ``openai`` (any OpenAI-compatible server) and ``ScriptedLlm`` (a deterministic
function, for tests, examples and dry runs). Clients do not retry: the caller records every attempt
before it is sent.
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
"""Temporary failures: the same question may succeed later."""

FINAL: frozenset[FailureKind] = frozenset({"quota", "denied"})
"""Failures of all questions: the quota is used up, or the key is wrong."""

MENDABLE: frozenset[FailureKind] = frozenset({"truncated", "invalid"})
"""Failures that a second request with the error message may correct."""

UNBILLED: frozenset[FailureKind] = frozenset({"rate", "quota", "denied", "rejected"})
"""Failures without computation, so without a price; after a timeout the price is unknown."""

_MAX_MESSAGE = 200


@dataclass(frozen=True, slots=True)
class LlmRequest:
    """Question to an LLM.

    Args:
        data_id: id of the data that the answer must repeat.
        earlier: (answer, error message) of earlier attempts.
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
    """An answer as it came, valid UTF-8, with the server's token counts; None = unknown."""

    text: str
    sent: int | None = None
    answered: int | None = None


class LlmFailure(Exception):
    """Failed question. Is caught in ``serendip.llm``: failures become rows of the ledger.

    Args:
        message: description; control characters and line breaks are removed.
        retry_after: seconds to wait before a retry, as the server demands; None = no demand.
        answer: unusable answer that has a price all the same.
    """

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        retry_after: float | None = None,
        answer: LlmAnswer | None = None,
    ) -> None:
        printable = "".join(letter if letter.isprintable() else " " for letter in message)
        self.message = " ".join(printable.split())[:_MAX_MESSAGE]
        super().__init__(f"{kind}: {self.message}")
        self.kind = kind
        self.retry_after = retry_after
        self.answer = answer


class Llm(Protocol):
    """Client of a language model."""

    @property
    def model(self) -> str:
        """Name of the model; answers are stored by it."""
        ...

    async def answer(self, request: LlmRequest) -> LlmAnswer:
        """Send a request once.

        Raises:
            LlmFailure: there is no usable answer.
        """
        ...

    async def close(self) -> None:
        """Close all connections, within the event loop that has opened them."""
        ...


@dataclass(frozen=True, slots=True)
class ScriptedLlm:
    """Client that answers by a function of the request, which may raise ``LlmFailure``."""

    script: Callable[[LlmRequest], str]
    model: str = "scripted"

    async def answer(self, request: LlmRequest) -> LlmAnswer:
        """Run the script; a token is counted as four characters."""
        text = self.script(request)
        return LlmAnswer(text, len(request.system + request.user) // 4, len(text) // 4)

    async def close(self) -> None:
        """See ``Llm``."""
