import json
from pathlib import Path
from typing import Any

import pytest
from commands import serendip_here

from serendip.data.items.catalogue import Item
from serendip.engine.workspace import Workspace

LONG = "A sturdy thing for every day, made by people who care about how long such things last. "


def init(folder: Path, items: str, events: str | None = None, *more: str) -> dict[str, Any]:
    command = ["init", "-w", "ws", "--items", items, *more]
    command += [] if events is None else ["--events", events]
    done = serendip_here(*command, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def stored(folder: Path) -> list[Item]:
    with Workspace.open(folder / "ws").open_store() as store:
        return store.items()


def test_a_german_shop(tmp_path: Path) -> None:
    rows = [
        f'{1000 + n};Messer {n};"{LONG}";Küche > Messer > {"Brot" if n % 2 else "Käse"};'
        f"1.{n}49,50 €;{n};Solingen {n % 3};https://shop.example/p/{n}"
        for n in range(1, 9)
    ]
    header = "Artikel-Nr.;Bezeichnung;Produktbeschreibung;Warengruppe;Preis;Bestand;Hersteller;Link"
    (tmp_path / "artikel.csv").write_text("\n".join([header, *rows]), encoding="utf-8-sig")
    orders = [f"K{n % 3};{1001 + n % 8};2024-03-0{n % 9 + 1};kauf" for n in range(12)]
    text = "\n".join(["Kundennummer;Artikelnummer;Bestelldatum;Aktion", *orders])
    (tmp_path / "kauf.csv").write_text(text, encoding="utf-8")
    document = init(tmp_path, "artikel.csv", "kauf.csv")
    assert document["mapping"]["items"] == {
        "item_id": "Artikel-Nr.",
        "title": "Bezeichnung",
        "description": "Produktbeschreibung",
    }
    assert document["mapping"]["events"] == {
        "user_id": "Kundennummer",
        "item_id": "Artikelnummer",
        "timestamp": "Bestelldatum",
        "action": "Aktion",
    }
    notes = document["attributes"]
    assert notes["Warengruppe"] == "path of categories, split at '>', encoded"
    assert notes["Preis"] == "numbers, decimal sign ',', in €, price, kept as it is"
    assert notes["Bestand"] == "numbers, stock, kept as it is"
    assert notes["Link"] == "links, kept as it is"
    settings = Workspace.open(tmp_path / "ws").settings
    assert settings.content.fields == ("title", "description", "Warengruppe", "Hersteller")
    assert settings.items.units == {"Preis": "€"}
    assert settings.page.fields == ("Preis", "Link")
    item = stored(tmp_path)[0]
    assert item.attributes["Warengruppe"] == ("Küche", "Messer", "Brot")
    assert (item.attributes["Preis"], item.attributes["Bestand"]) == (1149.5, 1.0)
    written = (tmp_path / "ws" / "serendip.toml").read_text(encoding="utf-8")
    assert '# filters = ["seen", "Bestand>=1"]' in written


def test_a_korean_shop(tmp_path: Path) -> None:
    rows = [
        f"P{n:03},양말 {n},따뜻한 겨울 양말입니다,패션/여성/{'양말' if n % 2 else '장갑'},"
        f'"₩{n},500",{n}'
        for n in range(1, 9)
    ]
    text = "\n".join(["상품 코드,상품명,상품 설명,카테고리,판매가,재고", *rows])
    (tmp_path / "상품.csv").write_text(text, encoding="utf-8")
    orders = [f"u{n % 3},P{n % 8 + 1:03},2024-03-0{n % 9 + 1} 10:00" for n in range(12)]
    text = "\n".join(["회원번호,상품코드,주문일시", *orders])
    (tmp_path / "주문.csv").write_text(text, encoding="utf-8")
    document = init(tmp_path, "상품.csv", "주문.csv")
    assert document["mapping"]["items"] == {
        "item_id": "상품 코드",
        "title": "상품명",
        "description": "상품 설명",
    }
    assert document["mapping"]["events"] == {
        "user_id": "회원번호",
        "item_id": "상품코드",
        "timestamp": "주문일시",
    }
    assert stored(tmp_path)[0].attributes == {
        "카테고리": ("패션", "여성", "양말"),
        "판매가": 1500.0,
        "재고": 1.0,
    }
    assert Workspace.open(tmp_path / "ws").settings.content.fields == (
        *("title", "description", "카테고리"),
    )


def test_a_japanese_shop_in_its_own_encoding(tmp_path: Path) -> None:
    rows = [f'P{n},靴下 {n},あたたかい冬の靴下,服>靴下,"￥{n},500"' for n in range(1, 9)]
    text = "\n".join(["商品コード,商品名,商品説明,カテゴリー,販売価格", *rows])
    (tmp_path / "items.csv").write_bytes(text.encode("cp932"))
    orders = [f"u{n % 3},P{n % 8 + 1},2026年1月{n % 9 + 1}日 10:00,購入" for n in range(12)]
    text = "\n".join(["会員番号,商品コード,注文日時,行動", *orders])
    (tmp_path / "events.csv").write_bytes(text.encode("cp932"))
    document = init(tmp_path, "items.csv", "events.csv")
    assert document["forms"]["events"] == {
        "encoding": "cp932",
        "time_format": "%Y年%m月%d日 %H:%M",
    }
    assert document["actions"] == {"購入": "a like"}
    assert stored(tmp_path)[0] == Item(
        *("P1", "靴下 1", "あたたかい冬の靴下"),
        {"カテゴリー": ("服", "靴下"), "販売価格": 1500.0},
    )


def test_a_platforms_export_with_names_of_its_own(tmp_path: Path) -> None:
    header = "Handle,Title,Body (HTML),Vendor,Type,Tags,Variant SKU,Image Src,Price,Country"
    rows = [
        f'shirt-{n},Shirt {n},"{LONG}",Acme,Shirts,"cotton|blue",SKU-{n:05},'
        f"https://cdn.example/{n}.jpg,{n}9.90,KR"
        for n in range(1, 9)
    ]
    (tmp_path / "products.csv").write_text("\n".join([header, *rows]))
    document = init(tmp_path, "products.csv", None, "--map", "items.item_id=Handle")
    assert document["mapping"]["items"] == {
        "item_id": "Handle",
        "title": "Title",
        "description": "Body (HTML)",
    }
    settings = Workspace.open(tmp_path / "ws").settings
    assert settings.content.fields == ("title", "description", "Vendor", "Type", "Tags", "Country")
    assert document["attributes"]["Variant SKU"] == "ids or codes, kept as it is"
    assert document["attributes"]["Country"] == "words, country, encoded"
    item = stored(tmp_path)[0]
    assert item.attributes["Tags"] == ("cotton", "blue")
    assert item.attributes["Price"] == 19.9
    written = (tmp_path / "ws" / "serendip.toml").read_text()
    assert '"Country=request"' in written
    assert '\n[page]\nfields = ["Image Src", "Price"]' in written
    lines = ('image = "Image Src"', 'image_hosts = ["cdn.example"]')
    for line in lines:
        assert f"\n# {line}\n" in written
        written = written.replace(f"\n# {line}\n", f"\n{line}\n")
    (tmp_path / "ws" / "serendip.toml").write_text(written)
    page = Workspace.open(tmp_path / "ws").settings.page
    assert (page.image, page.fields) == ("Image Src", ("Image Src", "Price"))


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("WHITE METAL LANTERN {}", (), {"title": "Description"}),
        ("GIFT VOUCHER", (), {"description": "Description"}),
        (LONG + "{}", (), {"description": "Description"}),
        (
            "WHITE METAL LANTERN {}",
            ("--map", "items.description=Description"),
            {"description": "Description"},
        ),
    ],
)
def test_short_descriptions_that_differ_are_titles_where_there_are_none(
    tmp_path: Path, text: str, options: tuple[str, ...], expected: dict[str, str]
) -> None:
    rows = [f'{n:05},"{text.format(n)}"' for n in range(8)]
    (tmp_path / "items.csv").write_text("\n".join(["StockCode,Description", *rows]))
    document = init(tmp_path, "items.csv", None, *options)
    assert document["mapping"]["items"] == {"item_id": "StockCode", **expected}


@pytest.mark.parametrize(
    ("column", "cell", "is_taken"),
    [
        ("published", "2024-03-0{}", True),
        ("Posted Date", "0{}.03.2024", True),
        ("veröffentlicht_am", "1{}.03.2024 08:00", True),
        ("게시일", "2024-03-0{}T10:00:00+09:00", True),
        ("published", "TRUE", False),  # a flag
        ("published", "199{}", False),  # the year of a book
        ("published", "0{}/03/2024", False),  # day and month, or month and day
        ("release_date", "2024-03-0{}", False),  # of the work, not of its entry here
        ("Erscheinungsdatum", "2024-03-0{}", False),
        ("publication_date", "1998-03-0{}", False),
        ("Publish Date", "0{}.03.2024", False),
        ("datePublished", "2024-03-0{}", False),
        ("pubDate", "2024-03-0{}T10:00:00Z", False),
        ("Veröffentlichungsdatum", "0{}.03.2024", False),
    ],
)
def test_a_time_of_publishing_is_the_start_of_an_item(
    tmp_path: Path, column: str, cell: str, is_taken: bool
) -> None:
    rows = [f"sku{n},Chair {n},{cell.format(n)}" for n in range(1, 9)]
    (tmp_path / "items.csv").write_text("\n".join([f"sku,name,{column}", *rows]), encoding="utf-8")
    mapping = init(tmp_path, "items.csv")["mapping"]["items"]
    assert mapping.get("available_from") == (column if is_taken else None)
    items = stored(tmp_path)
    assert all((item.available_from is not None) is is_taken for item in items)
    assert all((column in item.attributes) is not is_taken for item in items)


def test_it_says_which_attributes_shoppers_do_not_see(tmp_path: Path) -> None:
    rows = [f"p{n},Chair {n},{n}0,{n},wood" for n in range(1, 9)]
    text = "\n".join(["sku,name,price,purchase price,material", *rows])
    (tmp_path / "items.csv").write_text(text)
    assert init(tmp_path, "items.csv")["hidden_attributes"] == ["purchase price"]
    command = ("init", "-w", "again", "--items", "items.csv")
    done = serendip_here(*command, cwd=tmp_path)
    assert "shoppers do not see purchase price" in done.stdout + done.stderr
