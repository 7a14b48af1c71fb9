import pytest

from serendip.data.items.attributes import AttributeValues, is_code_name
from serendip.data.items.catalogue import Catalogue, Item


@pytest.mark.parametrize(
    ("values", "are_codes"),
    [
        ([f"P{number:05}" for number in range(40)], True),
        ([(f"P{number:05}", f"Q{number}") for number in range(20)], True),
        (["M8", "M10"] * 20, False),
        ([f"{number} ml" for number in range(40)], False),
        ([f"brand {chr(97 + number)}" for number in range(24)], False),
        ([float(number) for number in range(40)], False),
    ],
)
def test_many_different_texts_with_digits_are_codes(values: list[object], are_codes: bool) -> None:
    assert AttributeValues.of(values).are_codes == are_codes  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "is_code"),
    [
        *((name, True) for name in ("id", "parent_sku", "productId", "EAN", "Parent SKU")),
        *((name, False) for name in ("video", "skull", "idea", "brand", "")),
    ],
)
def test_names_of_ids_are_known(name: str, is_code: bool) -> None:
    assert is_code_name(name) == is_code


def test_a_catalogue_knows_its_codes() -> None:
    items = [Item(f"i{n}", "", attributes={"model": f"X{n}", "brand": "Acme"}) for n in range(30)]
    catalogue = Catalogue(items)
    assert [catalogue.is_code(name) for name in ("model", "brand", "gtin")] == [True, False, True]
    assert catalogue.with_late([Item("new", "", attributes={"hue": "red"})]).is_code("hue") is False
