"""What commands that may ask an LLM are told about money."""

from __future__ import annotations

from serendip.errors import ConfigError


def asked_budget(llm: bool, budget: float | None, estimate: bool) -> float | None:
    """What all runs of a job may cost; None = no LLM is asked.

    An estimate needs no budget: it sends nothing.

    Raises:
        ConfigError: an LLM without a budget, or a budget or an estimate without an LLM.
    """
    if llm:
        if budget is None and not estimate:
            raise ConfigError("--llm without --budget.", "Say what all runs may cost, 0 = nothing.")
        return budget or 0.0
    if budget is not None or estimate:
        option = "--estimate" if estimate else "--budget"
        raise ConfigError(f"{option} without --llm.", "Add --llm; without it nothing costs money.")
    return None
