from dataclasses import replace
from pathlib import Path

import pytest

from serendip.data.items.catalogue import Item
from serendip.files.cells import AttributeCells
from serendip.files.config import ItemsConfig
from serendip.files.items import read_items
from serendip.jobs.init.attributes import find_decimal, find_level_separator


def attributes_of(folder: Path, text: str, **settings: object) -> list[dict]:
    (folder / "items.csv").write_text(text, encoding="utf-8")
    config = ItemsConfig(path="items.csv", **settings)
    return [dict(item.attributes) for item in read_items(config, folder)]


def test_the_levels_of_a_path_become_a_list_and_several_paths_one_list(tmp_path: Path) -> None:
    text = "id;cat\n1;Home > Kitchen > Knives\n2;Garden\n3;\n4;A > B|C > D\n"
    assert attributes_of(tmp_path, text, level_separators={"cat": ">"}) == [
        {"cat": ("Home", "Kitchen", "Knives")},
        {"cat": ("Garden",)},
        {},
        {"cat": ("A", "B", "C", "D")},
    ]
    assert attributes_of(tmp_path, text, level_separators={"cat": ">"}, list_separator="")[3] == {
        "cat": ("A", "B|C", "D")
    }


@pytest.mark.parametrize(
    ("sign", "cells", "numbers"),
    [
        (",", ["1.234,56 €", "12,50", "-3", "€ 7", "0,99 EUR"], [1234.56, 12.5, -3, 7, 0.99]),
        (
            ".",
            ["$1,299.00", "12.5", "₩ 35,000", "40 %", "CHF 1'000"],
            [1299, 12.5, 35000, 40, 1000],
        ),
        (
            ",",
            [
                "−7,50",
                "9,50-",
                "(12,50)",
                "- 5",
                "–3 €",
                "€ -5",
                "-€ 5",
                "4 €-",
                "4- €",
                "(8 kr)",
                "-2 Stück",
            ],
            [-7.5, -9.5, -12.5, -5, -3, -5, -5, -4, -4, -8, -2],
        ),
        (".", ["￦１５，０００", "￥1,200", "￡5"], [15000, 1200, 5]),
        (",", ["5,-", "CHF 1.299.–", "-5,--", "kr.500", "0,125"], [5, 1299, -5, 500, 0.125]),
    ],
)
def test_numbers_for_people_are_numbers(
    tmp_path: Path, sign: str, cells: list[str], numbers: list[float]
) -> None:
    rows = "\n".join(f"{row};{cell}" for row, cell in enumerate([*cells, "", "on request"]))
    found = attributes_of(tmp_path, f"id;price\n{rows}\n", decimals={"price": sign})
    assert found == [*({"price": number} for number in numbers), {}, {}]
    posted = AttributeCells("|", decimals={"price": sign})  # type: ignore[dict-item]
    assert [posted.read_posted({"price": cell}) for cell in (*cells, "", "on request")] == found


@pytest.mark.parametrize(
    "cell",
    ["(5", "5)", "-5-", "--5", "(-5)", "12-Pack", "Modell-5", "5 – 7", "5 (net)", ",50", "0.125"],
)
def test_what_may_be_another_number_is_none(tmp_path: Path, cell: str) -> None:
    text = f"id;price\n1;{cell}\n"
    assert attributes_of(tmp_path, text, decimals={"price": ","}) == [{}]
    assert AttributeCells("|", decimals={"price": ","}).read_posted({"price": cell}) == {}


def test_a_posted_item_is_read_as_those_of_the_file() -> None:
    config = ItemsConfig(
        path="items.csv",
        title_style="library",
        list_separator=";",
        level_separators={"category": "/"},
        decimals={"cost": ","},
    )
    kinds = {"genres": "list", "price": "number", "category": "list", "cost": "number"}
    values = {
        "genres": "Drama; Crime",
        "category": "Home / Light;Gifts",
        "price": "￦12,000",
        "cost": "1.234,50 €",
        "size": "A;B",
        "tags": ("x", " y"),
        "stars": 4.0,
    }
    posted = Item("n", "Postman, The (1994)", "", values)
    read = config.read_posted(posted, lambda name: kinds.get(name, "text"))
    assert (read.item_id, read.title) == ("n", "The Postman")
    assert read.attributes == {
        "genres": ("Drama", "Crime"),
        "category": ("Home", "Light", "Gifts"),
        "price": 12000.0,
        "cost": 1234.5,
        "size": "A;B",
        "tags": ("x", " y"),
        "stars": 4.0,
        "year": 1994.0,
    }
    unsure = replace(posted, attributes={"price": "on request", "year": 1995.0})
    again = config.read_posted(unsure, lambda name: kinds.get(name, "text"))
    assert again.attributes == {"price": "on request", "year": 1995.0}
    assert ItemsConfig().read_posted(posted, lambda _: "list") == posted


@pytest.mark.parametrize(
    ("cells", "sign"),
    [
        (["12,50", "3,99"], ","),
        (["1.234,56 €", "12 €"], ","),
        (["$1,299.00", "$5"], "."),
        (["₩35,000", "₩1,200"], "."),
        (["￦35,000", "￥1,200", "₩900"], "."),
        ([*["35,000"] * 9, "on request"], "."),
        (["35.000 ₫", "120.000 ₫"], ","),
        (["0,125", "0,250"], ","),
        (["-0.125", "1,250"], "."),
        (["1250,125", "3"], ","),
        (["−7,50", "9,50-", "(12,50)"], ","),
        (["5,-", "CHF 7.50"], "."),
        (["(12)", "3"], "."),
        (["10-20", "30-40"], ""),
        (["12.50", "3"], ""),  # as a program writes them
        (["12", "3"], ""),
        (["0123", "0456"], ""),  # ids
        (["12.03.2023", "01.02.2024"], ""),  # dates
        (["1.2.3", "1.10"], ""),  # versions
        (["12,50", "on request", "ask"], ""),
        ([], ""),
    ],
)
def test_the_decimal_sign_is_told_by_all_cells(cells: list[str], sign: str) -> None:
    assert (find_decimal(cells) or "") == sign


@pytest.mark.parametrize(
    ("name", "cells", "separator"),
    [
        ("anything", ["Home > Kitchen", "Home > Garden > Tools"], ">"),
        ("x", ["Home › Kitchen"], "›"),
        ("category", ["Home/Kitchen", "Garden/Tools"], "/"),
        ("카테고리", ["/패션/여성", "/패션/남성"], "/"),
        ("band", ["AC/DC", "Earth/Wind"], ""),
        ("category", ["Home", "Garden/Tools", "Toys"], ""),
        ("category", ["img/a.jpg", "img/b.jpg"], ""),
        ("category", ["https://x.org/a", "https://x.org/b"], ""),
        ("size", ["5 > 3", "4 > 2"], ""),
    ],
)
def test_paths_of_categories_are_told_by_their_signs(
    name: str, cells: list[str], separator: str
) -> None:
    assert find_level_separator(name, cells) == separator
