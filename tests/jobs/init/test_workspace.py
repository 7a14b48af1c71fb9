from pathlib import Path

import pytest
from commands import serendip_here

from serendip.data import ActionRules, Item
from serendip.data.items.quality import QualityConfig
from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError, DataError
from serendip.jobs.import_files import import_files
from serendip.jobs.init.attributes import choose_text_fields
from serendip.jobs.init.workspace import parse_map_options, start_workspace

ITEMS = 'sku;name;"price, EUR"\n' + "".join(
    f"s{number};Chair {number};{number},50\n" for number in range(8)
)


def clicks(header: str, separator: str = ";") -> str:
    rows = [header]
    rows += [
        f"c{n % 3}{separator}s{n % 8}{separator}2024-03-0{n % 9 + 1} 10:00:00" for n in range(12)
    ]
    return "\n".join(rows) + "\n"


def start(folder: Path, items: str, events: str | None, option=()):
    (folder / "items.csv").write_text(items, encoding="utf-8-sig")
    path = None
    if events is not None:
        path = folder / "events.csv"
        path.write_text(events, encoding="utf-8-sig")
    return start_workspace(folder / "ws", folder / "items.csv", path, False, option)


def settings(folder: Path):
    return Workspace.open(folder / "ws").settings


def test_columns_with_unknown_names_are_told_by_their_cells(tmp_path):
    guesses = start(tmp_path, ITEMS.replace("sku;name", "kode;navn"), clicks("hvem;hva;naar"))
    assert guesses["items"].mapping == {"item_id": "kode", "title": "navn"}
    assert guesses["events"].mapping == {"user_id": "hvem", "item_id": "hva", "timestamp": "naar"}


def test_doubt_ends_in_the_columns_a_cell_of_each_and_the_option(tmp_path):
    events = "who;what;began;ended\n" + "".join(
        f"c{n % 3};s{n % 8};2024-03-01;2024-03-02\n" for n in range(9)
    )
    with pytest.raises(DataError) as caught:
        start(tmp_path, ITEMS, events)
    assert "  began: 2024-03-01\n  ended: 2024-03-02\n" in caught.value.message
    assert "--map events.timestamp=COLUMN" in caught.value.hint
    assert not (tmp_path / "ws").exists()
    guesses = start(tmp_path, ITEMS, events, ["timestamp=ended"])
    assert guesses["events"].mapping == {
        "user_id": "who",
        "item_id": "what",
        "timestamp": "ended",
    }


def test_what_is_said_wins_over_a_name(tmp_path):
    guesses = start(tmp_path, ITEMS, clicks("time;sku;id"), ["user_id=time", "timestamp=id"])
    assert guesses["events"].mapping == {"user_id": "time", "item_id": "sku", "timestamp": "id"}


COLUMNS = {"items": ["sku", "name"], "events": ["sku", "when"]}


def test_a_name_without_a_table_counts_wherever_the_column_is():
    assert parse_map_options(["item_id=sku"], COLUMNS) == {
        "items": {"item_id": "sku"},
        "events": {"item_id": "sku"},
    }
    assert parse_map_options(["items.item_id=sku", "timestamp=when"], COLUMNS) == {
        "items": {"item_id": "sku"},
        "events": {"timestamp": "when"},
    }


@pytest.mark.parametrize(
    ("option", "error", "words"),
    [
        (["when"], ConfigError, "events.timestamp"),
        (["timestamp="], ConfigError, "--map NAME=COLUMN"),
        (["colour=sku"], ConfigError, "is invalid"),
        (["shop.item_id=sku"], ConfigError, "is invalid"),
        (["items.timestamp=sku"], ConfigError, "is invalid"),
        (["timestamp=wen"], DataError, "Did you mean 'when'"),
        (["timestamp=when", "events.timestamp=sku"], ConfigError, "mapped twice"),
    ],
)
def test_what_cannot_be_meant_is_refused(option, error, words):
    with pytest.raises(error) as caught:
        parse_map_options(option, COLUMNS)
    assert words in str(caught.value)


SHOP = [
    ("sku", "s{}"),
    ("name", "M3GAN {}"),
    ("colour", "red"),
    ("size", "128GB"),
    ("image_path", "images/{}.jpg"),
    ("url", "https://shop.example/p/{}"),
    ("email", "seller{}@shop.example"),
    ("asin", "B00EXAMP{}"),
    ("parent_sku", "s{}"),
    ("checksum", "d41d8cd98f00b204e9800998ecf8427{}"),
    ("batch", "AB-0000{}"),
    ("released", "2024-03-0{}"),
    ("stock", "{}"),
    ("manual", "docs/{}.pdf"),
    ("maker", "Smith & Sons"),
]


def shop(*names: str) -> str:
    chosen = [(name, cell) for name, cell in SHOP if name in names]
    rows = [",".join(cell.format(number) for _, cell in chosen) for number in range(1, 9)]
    return "\n".join([",".join(name for name, _ in chosen), *rows]) + "\n"


def test_only_columns_of_words_are_encoded_and_titles_always(tmp_path):
    start(tmp_path, shop(*(name for name, _ in SHOP)), None)
    assert settings(tmp_path).content.fields == ("title", "colour", "size", "maker")


@pytest.mark.parametrize("title", ["1917", "img/a.jpg", "www.site.com", "a@b.org", "B00EXAMPLE"])
def test_a_title_stays_whatever_it_is(title):
    assert choose_text_fields([Item("a", title, "", {"x": "red"})]) == ["title", "x"]


@pytest.mark.parametrize(
    "cell",
    [
        *("images/red chair.jpg", "covers\\1.PNG", "./a.mp3", "/srv/x/y", "C:\\pictures\\a"),
        *("https://x.org/a", "www.x.org/a", "x.example/p/1", "//cdn.x.org/a.js", "mailto:a@b.org"),
        *("me@x.org", "Bob <bob@x.org>", "550e8400-e29b-41d4-a716-446655440000", "#ff00aa"),
        *("2024-03-01", "2024-03-01T10:00:00Z", "01/02/2023", "5 Jan 2020", "March 5, 2021"),
        *("12,50", "1.234,56", "12.50 €", "€12", "$ 1,299.00", "EUR 5", "-3", "40 %", "1 000 kr"),
        *("data:image/png;base64," + "iVBORw0KGgo" * 900, "12:30", "4006381333931"),
    ],
)
def test_a_cell_that_is_no_words_is_told_by_itself(cell):
    assert choose_text_fields([Item("a", "Chair", "", {"x": cell})]) == ["title"]
    assert choose_text_fields([Item("a", "Chair", "", {"x": (cell, cell)})]) == ["title"]


@pytest.mark.parametrize(
    "cell",
    [
        *("AC/DC", "red/blue", "and/or", "Node.js", "Mr. Smith", "Catch-22", "9 to 5", "S.W.A.T."),
        *("red", "A1", "7 dwarfs", "Heat 2", "USB"),
        *("See https://x.org for more", "by Ann, ann@x.org, and Bob", "Fast & Furious 9", "小説"),
    ],
)
def test_words_with_signs_of_other_things_are_still_words(cell):
    assert choose_text_fields([Item("a", "Chair", "", {"x": cell})]) == ["title", "x"]


def test_repeated_codes_are_sizes_and_different_ones_are_ids():
    sizes = [Item(str(n), "Disk", "", {"x": f"{2 ** (n % 3)}28GB"}) for n in range(12)]
    ids = [Item(str(n), "Disk", "", {"x": f"{n}28GB"}) for n in range(12)]
    assert choose_text_fields(sizes) == ["title", "x"]
    assert choose_text_fields(ids) == ["title"]


def written(folder: Path) -> str:
    return (folder / "ws" / "serendip.toml").read_text(encoding="utf-8")


def test_a_column_of_pictures_that_are_there_is_told_with_the_way_to_use_them(tmp_path):
    (tmp_path / "ws" / "images").mkdir(parents=True)
    (tmp_path / "ws" / "images" / "3.jpg").write_bytes(b"picture")
    start(tmp_path, shop("sku", "name", "image_path"), None)
    lines = written(tmp_path).splitlines()
    assert '# The column "image_path" has paths of pictures. To train on them, run' in lines
    first = lines.index("# [content.image]")
    assert lines[first + 1] == '# field = "image_path"'
    assert [line.split("     #")[0] for line in lines[first + 3 :]] == [
        *("[page]", 'fields = ["image_path"]'),
    ]
    assert settings(tmp_path).content.image is None
    settled = [*lines[:first], *(line.removeprefix("# ") for line in lines[first:])]
    (tmp_path / "ws" / "serendip.toml").write_text("\n".join(settled), encoding="utf-8")
    image = settings(tmp_path).content.image
    assert image.field == "image_path"


def rated_file(header: str, *values: float) -> str:
    rows = [f"c{n % 3};s{n % 8};2024-03-01;{value}" for n, value in enumerate(values)]
    return "\n".join([f"customer;sku;when;{header}", *rows]) + "\n"


STARS = (0.5, 2.0, 3.5, 5.0)


@pytest.mark.parametrize("header", ["rating", "stars", "Overall"])
def test_the_scale_of_ratings_says_what_a_dislike_is(tmp_path, header):
    start(tmp_path, ITEMS, rated_file(header, *STARS))
    rules = settings(tmp_path).actions
    assert (rules.like_at_least, rules.dislike_at_most) == (4.0, 2.0)
    written = (tmp_path / "ws" / "serendip.toml").read_text()
    assert "dislike_at_most = 2.0     # up to this value: a dislike" in written


def test_ratings_are_told_by_their_action_too(tmp_path):
    header = "value;action"
    rows = [f"{value};rate" for value in (1, 3, 5, 10)]
    start(tmp_path, ITEMS, rated_file(header, *rows))
    rules = settings(tmp_path).actions
    assert (rules.like_at_least, rules.dislike_at_most) == (8.0, 4.0)


@pytest.mark.parametrize(
    ("header", "values"),
    [
        ("value", STARS),  # may be an amount
        ("value;action", [f"{count};purchase" for count in (1, 2, 5)]),
        ("value;action", ["1;purchase", "5;rate"]),
        ("rating", (0, 5, 8, 10)),  # 0 may mean that nobody rated
        ("rating", (0, 1)),
        ("rating", (20.0, 80.0, 100.0)),
        ("rating", (5.0, 5.0)),
    ],
)
def test_no_value_is_a_dislike_where_it_may_be_no_rating(tmp_path, header, values):
    start(tmp_path, ITEMS, rated_file(header, *values))
    assert settings(tmp_path).actions.dislike_at_most is None


def did(*actions: str) -> str:
    rows = [f"c{n % 3};s{n % 8};2024-03-01;{action}" for n, action in enumerate(actions)]
    return "\n".join(["customer;sku;when;event_type", *rows]) + "\n"


def test_the_actions_of_the_log_say_what_is_negative(tmp_path):
    actions = [*["view"] * 30, "Thumbs_Down", "not interested", "Refund", "Buy", "hide"]
    actions.append("impression")
    guesses = start(tmp_path, ITEMS, did(*actions))
    rules = settings(tmp_path).actions
    assert rules.negative == {
        **ActionRules().negative,
        "Thumbs_Down": "recommendations",
        "not interested": "recommendations",
        "Refund": "seen",
    }
    assert rules.is_like("Buy", None)
    assert rules.is_interest("view", None)
    assert not rules.is_interest("Refund", 5.0)
    notes = guesses["events"].actions.notes()
    assert notes["hide"] == "negative: the item is never shown to that user again"
    assert notes["Buy"] == "a like"
    assert notes["view"] == "interest"
    assert "impression" not in notes


def test_a_rare_action_at_the_end_of_a_long_log_is_seen(tmp_path):
    start(tmp_path, ITEMS, did(*["view"] * 6_000, "downvote"))
    assert settings(tmp_path).actions.negative["downvote"] == "recommendations"


def test_known_actions_need_no_table(tmp_path):
    start(tmp_path, ITEMS, did("click", "hide", "like", "skip"))
    assert "\n[actions" not in (tmp_path / "ws" / "serendip.toml").read_text()


def test_what_may_weigh_more_is_written_as_a_comment_that_can_be_used(tmp_path):
    items = "sku;name;margin\n" + "".join(f"s{n};Chair {n};{n}.5\n" for n in range(8))
    start(tmp_path, items, did("view", "buy", "view", "cart", "hide"))
    path = tmp_path / "ws" / "serendip.toml"
    text = path.read_text()
    assert settings(tmp_path).surfaces == {}
    wanted = (
        "[actions.strengths]",
        '"buy" = 5',
        '"cart" = 5',
        "[ranker]",
        "actions = [",
        "attribute =",
    )
    for line in (*wanted, "[surfaces.home.item_value]"):
        assert f"\n# {line}" in text
        text = text.replace(f"\n# {line}", f"\n{line}")
    path.write_text(text)
    found = settings(tmp_path)
    assert found.actions.strengths == {"buy": 5, "cart": 5}
    assert found.ranker.actions == ("interact", "like", "buy", "cart")
    assert found.surfaces["home"].item_value.attribute == "margin"


def test_a_column_of_many_values_is_no_kind_of_interaction(tmp_path):
    guesses = start(tmp_path, ITEMS, did(*(f"a{n}" for n in range(200)), "block"))
    assert guesses["events"].actions.notes() == {}


@pytest.mark.parametrize(
    ("rating", "reviews"),
    [
        ("Average Rating", "rating_count"),
        ("stars", "Number of reviews"),
        ("rating", "ratings"),
        ("Bewertung", "Anzahl Bewertungen"),
        ("평점", "리뷰 수"),
    ],
)
def test_ratings_and_reviews_of_the_catalogue_tell_its_quality(tmp_path, rating, reviews):
    rows = "".join(f"s{n};Chair {n};{3 + n / 10:.1f};{n * 40}\n" for n in range(8))
    start(tmp_path, f"sku;name;{rating};{reviews}\n{rows}", None)
    assert settings(tmp_path).quality == QualityConfig(rating=rating, reviews=reviews)


def test_words_and_shares_are_no_ratings_and_no_numbers_of_reviews(tmp_path):
    rows = "".join(f"s{n};Chair {n};PG-{n};{n / 10:.1f}\n" for n in range(8))
    start(tmp_path, f"sku;name;rating;reviews\n{rows}", None)
    assert settings(tmp_path).quality == QualityConfig()


EVENTS = "user,item,time\n" + "".join(
    f"u{n % 3},{item},{1_700_000_000 + n}\n" for n, item in enumerate(["b", "a", " a ", "c"])
)


def items_of(folder: Path) -> list[tuple[str, str]]:
    with Workspace.open(folder).open_store() as store:
        return sorted((item.item_id, item.title) for item in store.items())


def test_a_log_alone_is_enough(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(EVENTS)
    done = serendip_here("init", "--events", "log.csv", "-w", "ws", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3 items, 4 events imported." in done.stdout
    assert items_of(tmp_path / "ws") == [("a", ""), ("b", ""), ("c", "")]


def test_a_catalogue_with_gaps_is_filled_from_the_log_by_a_setting(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(EVENTS)
    (tmp_path / "items.csv").write_text("item,name\na,An A\nd,A D\n")
    folder = tmp_path / "ws"
    start_workspace(folder, tmp_path / "items.csv", tmp_path / "log.csv", False)
    import_files(Workspace.open(folder))
    assert items_of(folder) == [("a", "An A"), ("d", "A D")]
    settings = folder / "serendip.toml"
    settings.write_text(settings.read_text().replace("[items]", "[items]\nfrom_events = true", 1))
    import_files(Workspace.open(folder))
    assert items_of(folder) == [("a", "An A"), ("b", ""), ("c", ""), ("d", "A D")]


def test_no_file_at_all_or_one_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv is not a file") as missing:
        start_workspace(tmp_path, tmp_path / "none.csv", None, False)
    assert missing.value.hint == "Correct the path of --items."
    with pytest.raises(ConfigError) as caught:
        start_workspace(tmp_path / "ws", None, None, False)
    assert caught.value.hint == "Add --items FILE or --events FILE."
