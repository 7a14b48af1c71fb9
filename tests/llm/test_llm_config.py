import pytest

from serendip.errors import ConfigError
from serendip.llm.client import Bill, LlmAnswer, LlmConfig, LlmFailure, LlmRequest, Prices


@pytest.mark.parametrize(
    ("config", "prices"),
    [
        (LlmConfig(provider="endpoint", input_price=1.0, output_price=2.0), Prices(1.0, 2.0)),
        (LlmConfig(provider="endpoint", input_price=0.0, output_price=0.0), Prices(0.0, 0.0)),
        (LlmConfig(input_price=3.0), Prices(0.0, 0.0)),  # no endpoint
    ],
)
def test_an_endpoint_has_the_configured_prices(config: LlmConfig, prices: Prices) -> None:
    assert config.prices() == prices


@pytest.mark.parametrize("given", [{}, {"input_price": 1.0}, {"output_price": 1.0}])
def test_an_endpoint_needs_both_prices(given: dict[str, float]) -> None:
    config = LlmConfig(provider="endpoint", **given)
    with pytest.raises(ConfigError, match="Set the price of a million tokens"):
        config.prices()


REQUEST = LlmRequest("system", "user", "answer", {}, max_tokens=100)
PRICES = Prices(sent=10_000.0, answered=20_000.0)


@pytest.mark.parametrize(
    ("answer", "failure", "bill"),
    [
        (LlmAnswer("{}", 10, 5), None, (10, 5, 0.2)),
        (LlmAnswer("{}", 1000, 5), None, (None, None, None)),  # above the highest price
        (LlmAnswer("{}", None, 5), None, (None, None, None)),
        (None, LlmFailure("timeout", "late"), (None, None, None)),
        (None, LlmFailure("rate", "slow down"), (0, 0, 0.0)),  # nothing was computed
    ],
)
def test_a_bill_is_the_price_of_the_counted_tokens(
    answer: LlmAnswer | None, failure: LlmFailure | None, bill: Bill
) -> None:
    assert PRICES.bill(answer, failure, 1.0) == pytest.approx(bill)


def test_the_highest_price_counts_a_token_for_each_byte() -> None:
    longest = len("system") + len("user") + len("{}") + 64
    assert PRICES.most(REQUEST) == pytest.approx((longest * 10_000 + 100 * 20_000) / 1e6)
