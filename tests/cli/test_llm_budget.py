"""An LLM costs nothing that was not allowed, and nobody who names a price is ignored."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import invoke
from small_shop import import_shop

from serendip.cli.terminal import require_budget
from serendip.errors import ConfigError


def test_an_estimate_needs_no_budget_and_a_run_does() -> None:
    assert require_budget(True, None, True) == 0.0
    assert require_budget(True, 2.5, False) == 2.5
    assert require_budget(False, None, False) is None
    with pytest.raises(ConfigError, match="--llm without --budget"):
        require_budget(True, None, False)


@pytest.mark.parametrize("group", ["synonyms", "queries"])
@pytest.mark.parametrize("option", [("--estimate",), ("--budget", "1")])
def test_a_price_without_an_llm_is_refused_and_nothing_is_written(
    tmp_path: Path, group: str, option: tuple[str, ...]
) -> None:
    shop = import_shop(tmp_path / "shop")
    before = sorted(path.name for path in shop.iterdir())
    with pytest.raises(ConfigError, match=f"{option[0]} without --llm"):
        invoke(group, "build", *option, "-w", str(shop))
    assert sorted(path.name for path in shop.iterdir()) == before


@pytest.mark.parametrize("group", ["synonyms", "queries"])
def test_without_a_configured_llm_nothing_is_begun(tmp_path: Path, group: str) -> None:
    shop = import_shop(tmp_path / "shop")
    with pytest.raises(ConfigError, match="no LLM is configured"):
        invoke(group, "build", "--llm", "--estimate", "-w", str(shop))
    assert not (shop / "cache" / "llm").exists()
