"""Prices of the configured LLM."""

import pytest

from serendip.errors import ConfigError
from serendip.llm.client import LlmAnswer, LlmFailure, LlmRequest
from serendip.llm.config import LlmConfig, Prices


def test_an_endpoint_has_the_configured_prices() -> None:
    config = LlmConfig(provider="endpoint", input_price=1.0, output_price=2.0)
    assert config.prices() == Prices(1.0, 2.0)


def test_an_endpoint_may_be_free() -> None:
    config = LlmConfig(provider="endpoint", input_price=0.0, output_price=0.0)
    assert config.prices() == Prices(0.0, 0.0)


@pytest.mark.parametrize("given", [{}, {"input_price": 1.0}, {"output_price": 1.0}])
def test_an_endpoint_needs_both_prices(given: dict[str, float]) -> None:
    config = LlmConfig(provider="endpoint", **given)
    with pytest.raises(ConfigError, match="Set the price of a million tokens"):
        config.prices()


def test_without_an_endpoint_nothing_has_a_price() -> None:
    config = LlmConfig(input_price=3.0)
    assert config.prices() == Prices(0.0, 0.0)


REQUEST = LlmRequest("system", "user", "answer", {}, max_tokens=100)
PRICES = Prices(sent=10_000.0, answered=20_000.0)


def test_a_bill_is_the_price_of_the_counted_tokens() -> None:
    assert PRICES.bill(LlmAnswer("{}", 10, 5), None, 1.0) == (10, 5, pytest.approx(0.2))


def test_counts_above_the_highest_price_are_unknown() -> None:
    assert PRICES.bill(LlmAnswer("{}", 1000, 5), None, 1.0) == (None, None, None)


def test_an_answer_without_counts_has_an_unknown_price() -> None:
    assert PRICES.bill(LlmAnswer("{}", None, 5), None, 1.0) == (None, None, None)
    assert PRICES.bill(None, LlmFailure("timeout", "late"), 1.0) == (None, None, None)


def test_failures_without_computation_cost_nothing() -> None:
    assert PRICES.bill(None, LlmFailure("rate", "slow down"), 1.0) == (0, 0, 0.0)


def test_the_highest_price_counts_a_token_for_each_byte() -> None:
    longest = len("system") + len("user") + len("{}") + 64
    assert PRICES.most(REQUEST) == pytest.approx((longest * 10_000 + 100 * 20_000) / 1e6)


def test_the_expected_price_counts_four_bytes_a_token_and_half_of_the_answer() -> None:
    expected = (len("system") + len("user") + len("{}")) // 4 + 64
    assert PRICES.expected(REQUEST) == pytest.approx((expected * 10_000 + 50 * 20_000) / 1e6)
