import pytest

from serendip.engine.config.settings import Settings

SPONSORED = {"surfaces": {"home": {"sponsored": {"bid": "offer"}}}}
WORTH = {"surfaces": {"home": {"item_value": {"attribute": "worth"}}}}
PRICE = {"surfaces": {"home": {"item_value": {"attribute": "sale_price"}}}}

PRIVATE = """
grossMargin, profitMargin, GrossMargin, MARGIN, margin.pct, unitCost, unit cost, costPrice
COSTPrice, cost price, cost_per_unit, CPC bid, bids2, profits, cogs, COGS, commission, markup
mark-up, purchase_price, purchasePrice, net.purchase price, wholesale_price, Wholesale Price
dealer-price, einkaufspreis, Einkaufspreis (netto), EK-Preis, EKPreis, Marge, Stückkosten
Großhandelspreis, Gewinn, 원가, 상품 원가, 원가(원), 원가KRW, 매입가, 마진율, 수수료
仕入価格, 仕入れ値, 原価, 粗利, ｺｽﾄ
"""
PUBLIC = """
price, sale_price, salePrice, list price, discount, costume, costumeType, Costa, margarine, profile
market, forbidden, purchase date, wholesale, Preis, Verkaufspreis, 회원가, 회원가입일, 판매가, 가격
コストコ, 販売価格, 仕入先
"""


def listed(names: str) -> list[str]:
    return names.strip().replace("\n", ", ").split(", ")


@pytest.mark.parametrize("name", listed(PRIVATE))
def test_names_of_bids_margins_costs_commissions_and_profits_are_private(name: str) -> None:
    assert not Settings().is_public(name)


@pytest.mark.parametrize("name", listed(PUBLIC))
def test_other_names_are_public(name: str) -> None:
    assert Settings().is_public(name)


@pytest.mark.parametrize(
    ("settings", "attribute", "is_public"),
    [
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
