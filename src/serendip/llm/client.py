"""``[llm]``: provider and model of the LLM, off by default, and the prices of its calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from pydantic import Field

from serendip.config import Config
from serendip.errors import ConfigError

Bill: TypeAlias = tuple[int | None, int | None, float | None]
"""Input tokens, output tokens and their price; None = unknown."""

_MILLION = 1_000_000
_TEMPLATE_TOKENS = 64

_BYTES_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices of a million input tokens and of a million output tokens."""

    sent: float = 0.0
    answered: float = 0.0

    def of(self, sent: int, answered: int) -> float:
        """Price of numbers of input and output tokens."""
        return (sent * self.sent + answered * self.answered) / _MILLION

    def most(self, request: LlmRequest) -> float:
        """Maximum price of a request: a token has at least one byte."""
        return self.of(_count_bytes(request) + _TEMPLATE_TOKENS, request.max_tokens)

    def expected(self, request: LlmRequest) -> float:
        """Expected price of a request whose answer has half of the maximum length."""
        sent = _count_bytes(request) // _BYTES_PER_TOKEN + _TEMPLATE_TOKENS
        return self.of(sent, request.max_tokens // 2)

    def bill(self, answer: LlmAnswer | None, failure: LlmFailure | None, max_price: float) -> Bill:
        """Compute tokens and price of a call from the server's counts; None where unknown.

        Counts whose price exceeds the maximum price are wrong, and treated as unknown.
        """
        if failure is not None and failure.kind in UNBILLED:
            return 0, 0, 0.0
        if answer is None or answer.sent is None or answer.answered is None:
            return None, None, None
        price = self.of(answer.sent, answer.answered)
        return (answer.sent, answer.answered, price) if price <= max_price else (None, None, None)


def _count_bytes(request: LlmRequest) -> int:
    texts = [request.system, request.user, json.dumps(request.schema), *sum(request.earlier, ())]
    return sum(len(text.encode()) for text in texts)


class LlmConfig(Config):
    """``[llm]``: provider, model, limits and prices."""

    provider: Literal["off", "endpoint"] = "off"
    """``off``: no LLM. ``endpoint``: the OpenAI-compatible server at ``base_url``, which may run on
    this machine."""

    base_url: str = ""
    """Address of the server including the API version, such as ``https://host/v1``."""

    model: str = ""
    """Name of the model on the server; answers are stored by it."""

    api_key_env: str = ""
    """Name of the environment variable with the API key, which is never stored; empty = no key."""

    timeout_s: float = Field(default=60.0, gt=0)
    """Timeout of a request in seconds, from the connection to the last byte of the answer."""

    concurrency: int = Field(default=4, ge=1, le=256)
    """Maximum number of concurrent requests."""

    attempts: int = Field(default=4, ge=1)
    """Maximum number of attempts per question, if the server fails or the answer is invalid."""

    max_tokens: int = Field(default=300, ge=1)
    """Maximum length of an answer in tokens."""

    token_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """Name of the parameter for ``max_tokens``; reasoning models need the latter."""

    temperature: float | Literal["unset"] = 0.0
    """Sampling temperature; ``unset`` for reasoning models that do not accept one."""

    sends_schema: bool = True
    """Send the JSON schema of answers to the server; answers are validated in any case."""

    input_price: float | None = Field(default=None, ge=0)
    """Price of a million input tokens, in the currency of ``--budget``; required for an endpoint,
    may be 0."""

    output_price: float | None = Field(default=None, ge=0)
    """Price of a million output tokens, required for an endpoint."""

    def prices(self) -> Prices:
        """Prices of tokens; 0 without an endpoint.

        Raises:
            ConfigError: an endpoint has no prices, without which a budget has no meaning.
        """
        if self.provider != "endpoint":
            return Prices()
        if self.input_price is None or self.output_price is None:
            raise ConfigError(
                "[llm] has no `input_price` and `output_price`.",
                "Set the price of a million tokens; 0 if they are free.",
            )
        return Prices(self.input_price, self.output_price)


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
