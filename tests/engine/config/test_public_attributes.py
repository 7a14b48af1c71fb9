"""Which attributes of items are for people to see."""

import pytest

from serendip.engine.config.settings import Settings

SPONSORED = {"surfaces": {"home": {"sponsored": {"bid": "offer"}}}}
WORTH = {"surfaces": {"home": {"item_value": {"attribute": "worth"}}}}
PRICE = {"surfaces": {"home": {"item_value": {"attribute": "sale_price"}}}}


@pytest.mark.parametrize(
    ("settings", "attribute", "is_public"),
    [
        ({}, "brand", True),
        ({}, "margin", False),
        ({}, "unit_cost", False),
        ({}, "Bid", False),
        ({}, "costume", True),
        (SPONSORED, "offer", False),
        (WORTH, "worth", False),
        (PRICE, "sale_price", True),
        ({"page": {"attributes": ["margin"]}}, "margin", True),
        ({"page": {"attributes": ["margin"]}}, "brand", False),
        ({"page": {"attributes": []}}, "available_from", True),
    ],
)
def test_bids_and_margins_are_not(
    settings: dict[str, object], attribute: str, is_public: bool
) -> None:
    assert Settings.model_validate(settings).is_public(attribute) == is_public
