"""What calls cost: a bound before they are sent, the bill afterwards."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TypeAlias

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
