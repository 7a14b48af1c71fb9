"""``[llm]``: which LLM is asked, and what it costs. Off by default."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from serendip.config import Config
from serendip.errors import ConfigError
from serendip.llm.pricing import Prices


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
