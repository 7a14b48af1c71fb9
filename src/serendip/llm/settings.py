"""``[llm]``: which LLM is asked, and what it costs. Off by default."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from serendip.config import Config
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

    api_key_env: str = "OPENAI_API_KEY"
    """Name of the environment variable with the key; the key itself is never written down. Where
    it is not set, requests carry none."""

    timeout_s: float = Field(default=60.0, gt=0)
    """Seconds until an answer is given up."""

    concurrency: int = Field(default=4, ge=1, le=256)
    """Requests under way at once."""

    attempts: int = Field(default=4, ge=1)
    """Times a question is sent at most, where the server fails or the answer does not fit."""

    max_tokens: int = Field(default=300, ge=1)
    """Length of an answer at most."""

    input_price: float = Field(default=0.0, ge=0)
    """Price of a million tokens that are sent, in the currency of ``--budget``."""

    output_price: float = Field(default=0.0, ge=0)
    """Price of a million tokens that are answered."""

    @property
    def prices(self) -> Prices:
        """What tokens cost."""
        return Prices(self.input_price, self.output_price)
