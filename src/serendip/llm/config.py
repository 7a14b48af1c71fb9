"""``[llm]``: provider and model of the LLM, off by default, and the prices of its calls.

``Prices`` bounds the price of a call before it is sent and computes the actual price afterwards.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal, TypeAlias

from pydantic import Field

from serendip.config import Config
from serendip.errors import ConfigError
from serendip.llm.client import UNBILLED, LlmAnswer, LlmFailure, LlmRequest

Bill: TypeAlias = tuple[int | None, int | None, float | None]
"""Tokens sent and answered and what they cost; None = nobody knows."""

_MILLION = 1_000_000
_TEMPLATE_TOKENS = 64
"""What a chat template adds to a few messages at most."""

_BYTES_PER_TOKEN = 4
"""Of English text, about."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Of a million tokens.

    Args:
        sent: of what is sent.
        answered: of what comes back.
    """

    sent: float = 0.0
    answered: float = 0.0

    def of(self, sent: int, answered: int) -> float:
        """Price of so many tokens."""
        return (sent * self.sent + answered * self.answered) / _MILLION

    def most(self, request: LlmRequest) -> float:
        """What a request can cost at most: a token is a byte at least."""
        return self.of(_bytes(request) + _TEMPLATE_TOKENS, request.max_tokens)

    def expected(self, request: LlmRequest) -> float:
        """What a request will cost, about, if its answer is half as long as it may be."""
        sent = _bytes(request) // _BYTES_PER_TOKEN + _TEMPLATE_TOKENS
        return self.of(sent, request.max_tokens // 2)

    def bill(self, said: LlmAnswer | None, failure: LlmFailure | None, most: float) -> Bill:
        """Tokens and their price, where the server says; where it failed, nobody knows.

        A bill above what the question can cost is none.

        Args:
            said: what came back; None = nothing.
            failure: what went wrong; None = nothing.
            most: what the question can cost.
        """
        if failure is not None and failure.kind in UNBILLED:
            return 0, 0, 0.0
        if said is None or said.sent is None or said.answered is None:
            return None, None, None
        price = self.of(said.sent, said.answered)
        return (said.sent, said.answered, price) if price <= most else (None, None, None)


def _bytes(request: LlmRequest) -> int:
    texts = [request.system, request.user, json.dumps(request.schema), *sum(request.earlier, ())]
    return sum(len(text.encode()) for text in texts)


class LlmConfig(Config):
    """An LLM behind any OpenAI-compatible address."""

    provider: Literal["off", "endpoint", "local"] = "off"
    """``off``: nothing asks. ``endpoint``: the server at ``base_url``. ``local``: a
    small model of a package, on this machine and at no price, to see that everything works."""

    base_url: str = ""
    """Address of the server up to and with its version, as ``https://host/v1``."""

    model: str = ""
    """Name of the model there; it is part of what an answer is known by."""

    api_key_env: str = ""
    """Name of the environment variable with the key; the key itself is never written down. Empty =
    requests carry none."""

    timeout_s: float = Field(default=60.0, gt=0)
    """Seconds that an answer may take, from the connection to its last byte."""

    concurrency: int = Field(default=4, ge=1, le=256)
    """Requests under way at once."""

    attempts: int = Field(default=4, ge=1)
    """Times a question is sent at most, where the server fails or the answer does not fit."""

    max_tokens: int = Field(default=300, ge=1)
    """Length of an answer at most."""

    token_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """How the server wants ``max_tokens`` to be called; models that reason take the latter."""

    temperature: float | Literal["unset"] = 0.0
    """Sent with every question; ``unset`` for models that reason and take none."""

    sends_schema: bool = True
    """Whether the server is told the schema of answers; they are checked in any case."""

    input_price: float | None = Field(default=None, ge=0)
    """Price of a million tokens that are sent, in the currency of ``--budget``; an endpoint needs
    one, be it 0."""

    output_price: float | None = Field(default=None, ge=0)
    """Price of a million tokens that are answered."""

    def prices(self) -> Prices:
        """What tokens cost.

        Raises:
            ConfigError: nobody says, and a budget would mean nothing.
        """
        if self.provider != "endpoint":
            return Prices()
        if self.input_price is None or self.output_price is None:
            raise ConfigError(
                "[llm] says no `input_price` and `output_price`.",
                "Name what a million tokens cost; 0 where they cost nothing.",
            )
        return Prices(self.input_price, self.output_price)
