"""What calls cost: a bound before they are sent, the bill afterwards."""

from __future__ import annotations

import json
from dataclasses import dataclass

from serendip.llm.client import LlmRequest

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


def _bytes(request: LlmRequest) -> int:
    texts = [request.system, request.user, json.dumps(request.schema), *sum(request.earlier, ())]
    return sum(len(text.encode()) for text in texts)
