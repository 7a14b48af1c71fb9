import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from commands import serendip_here

from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError, DataError
from serendip.files.events import read_events
from serendip.jobs.init.columns import FileForm, find_time_formats, guess_encoding, read_times
from serendip.jobs.init.workspace import start_workspace

NOW = datetime(2027, 1, 1, tzinfo=UTC).timestamp()
TEXTS = {
    "cp1252": "Nr;Name\n1;Größe der schönen Bücher – 5 €\n2;Straße nach Süden\n",
    "cp949": "번호;이름\n1;따뜻한 겨울 양말입니다\n2;여름 바다와 별\n",
    "cp932": "番号;名前\n1;美しい夏の本です\n2;カタカナの長い本\n",
    "gb18030": "编号;名称\n1;美丽的书籍和大海\n2;夏天的星星在天上\n",
    "cp1251": "код;имя\n1;Красивая книга о синем море\n2;Летние звёзды\n",
    "utf-16": "Nr;Name\n1;Größe\n",
}


@pytest.mark.parametrize("encoding", TEXTS)
def test_the_encoding_of_a_spreadsheet_is_told(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(TEXTS[encoding].encode(encoding))
    assert guess_encoding(path) == encoding


def test_what_is_no_text_needs_an_option(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"id\n" + bytes(range(255, 127, -1)) * 2 + b"\x81\xff\n")
    with pytest.raises(DataError) as caught:
        guess_encoding(path)
    assert caught.value.hint == "Add --encoding NAME."


@pytest.mark.parametrize(
    ("cells", "formats"),
    [
        (["1700000000", "1700000060.5"], [""]),
        (["2026-01-02T10:00:00Z", "2026-01-02"], [""]),
        (["02.01.2026 9:05", "25.01.2026 10:00"], ["%d.%m.%Y %H:%M"]),
        (["12.10.2026", "11.09.2026"], ["%d.%m.%Y"]),
        (["1/2/2026", "1/13/2026"], ["%m/%d/%Y"]),
        (["13/2/2026 1:05 PM", "1/3/2026 11:05 am"], ["%d/%m/%Y %I:%M %p"]),
        (["1/2/2026", "1/3/2026"], ["%d/%m/%Y", "%m/%d/%Y"]),
        (["20260102", "20261231"], ["%Y%m%d"]),
        (["2026. 1. 2. 13:05"], ["%Y. %m. %d. %H:%M"]),
        (["24.05.08", "24.05.31"], ["%y.%m.%d"]),  # 2031 is to come
        (["98.05.08", "99.05.31"], ["%y.%m.%d"]),
        (["31.12.96", "30.12.97"], ["%d.%m.%y"]),
        (["24/05/13 10:00"], ["%d/%m/%y %H:%M", "%y/%m/%d %H:%M"]),
        (["24-05-08"], ["%y-%m-%d"]),
        (["202612311707", "202601020304"], ["%Y%m%d%H%M"]),
        (["20261231170759"], ["%Y%m%d%H%M%S"]),
        (["31122026", "01022026"], ["%d%m%Y"]),
        (["01022026"], ["%d%m%Y", "%m%d%Y"]),
        (["Jan 5, 2026"], ["%b %d, %Y"]),
        (["5 January 2026 10:00:01"], ["%d %B %Y %H:%M:%S"]),
        (["1712011200"], [""]),
        (["12", "4.5", "1999"], []),
        (["tomorrow"], []),
        ([], []),
    ],
)
def test_times_have_the_formats_that_fit_them(cells: Sequence[str], formats: list[str]) -> None:
    assert find_time_formats(cells, NOW) == formats


@pytest.mark.parametrize(
    ("odd", "formats"),
    [
        ("25.10.2025 23:13", ["%d.%m.%Y %H:%M"]),
        ("13/02/2025", ["%d/%m/%Y"]),
        ("03/02/2025", ["%d/%m/%Y", "%m/%d/%Y"]),
        ("Tuesday", []),
    ],
)
def test_cells_of_two_spellings_are_read_each_by_its_own(odd: str, formats: list[str]) -> None:
    cells = ["2025-10-25 22:00:39", "1761429639", odd] * 20
    assert find_time_formats(cells) == formats
    for time_format in formats[:1]:
        iso, number, read = read_times(cells[:3], time_format)
        assert iso == number == 1_761_429_639.0
        assert abs(read - number) < 365 * 86_400


def orders(folder: Path, times: Sequence[str], more: str = "") -> None:
    items = "\n".join(["id;name;Höhe", *(f"p{n};Größe {n};{n} cm" for n in range(3))])
    (folder / "items.csv").write_bytes(items.encode("cp1252"))
    rows = [f"u{n % 2};p{n % 3};{time};{more or n}" for n, time in enumerate(times)]
    (folder / "events.csv").write_text("\n".join(["user;item;date;rating", *rows]))


def test_a_shop_of_another_country_is_imported_as_it_is(tmp_path: Path) -> None:
    orders(tmp_path, ["25.10.2026 12:00", "26.10.2026 8:30"], "1.299,50 €")
    command = ["init", "-w", "ws", "--items", "items.csv", "--events", "events.csv", "--json"]
    done = serendip_here(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["forms"] == {
        "items": {"encoding": "cp1252"},
        "events": {"time_format": "%d.%m.%Y %H:%M", "decimal": ","},
    }
    workspace = Workspace.open(tmp_path / "ws")
    with workspace.open_store() as store:
        assert [item.title for item in store.items()] == ["Größe 0", "Größe 1", "Größe 2"]
        assert store.log.count() == 2
    events = list(read_events(workspace.settings.events, tmp_path / "ws"))
    assert [event.timestamp for event in events] == [
        datetime(2026, 10, 25, 12, tzinfo=UTC).timestamp(),
        datetime(2026, 10, 26, 8, 30, tzinfo=UTC).timestamp(),
    ]
    assert {event.value for event in events} == {1299.5}


def test_the_whole_file_decides_the_order_of_day_and_month(tmp_path: Path) -> None:
    orders(tmp_path, ["1/2/2026"] * 6_000 + ["1/31/2026"])
    items, events = tmp_path / "items.csv", tmp_path / "events.csv"
    guesses = start_workspace(tmp_path / "ws", items, events, False)
    assert guesses["events"].form.time_format == "%m/%d/%Y"


def test_an_open_order_of_day_and_month_is_asked_for(tmp_path: Path) -> None:
    orders(tmp_path, ["1/2/2026", "2/3/2026"])
    items, events = tmp_path / "items.csv", tmp_path / "events.csv"
    with pytest.raises(DataError, match="can be '%d/%m/%Y' or '%m/%d/%Y'") as caught:
        start_workspace(tmp_path / "ws", items, events, False)
    assert "--time-format" in caught.value.hint
    given = FileForm(time_format="%m/%d/%Y")
    guesses = start_workspace(tmp_path / "ws", items, events, False, given=given)
    assert guesses["events"].form.time_format == "%m/%d/%Y"


@pytest.mark.parametrize(
    ("cells", "shown"),
    [
        (["203012312460", "203112312460"], "203012312460"),
        (["2026-01-01", "31,12,2026"], "31,12,2026"),
        (["yesterday", "today"], "yesterday"),
    ],
)
def test_times_that_cannot_be_told_are_asked_for(
    tmp_path: Path, cells: list[str], shown: str
) -> None:
    orders(tmp_path, cells)
    items, events = tmp_path / "items.csv", tmp_path / "events.csv"
    with pytest.raises(DataError, match=f"column 'date' .* is {shown!r}") as caught:
        start_workspace(tmp_path / "ws", items, events, False)
    assert "--time-format" in caught.value.hint
    assert not (tmp_path / "ws").exists()


def test_the_cells_that_a_given_format_does_not_read_are_asked_for(tmp_path: Path) -> None:
    orders(tmp_path, ["2026-01-01", "25.10.2026 23:13", "05/06/2026"])
    items, events = tmp_path / "items.csv", tmp_path / "events.csv"
    given = FileForm(time_format="%d.%m.%Y %H:%M")
    with pytest.raises(DataError, match="is '05/06/2026'") as caught:
        start_workspace(tmp_path / "ws", items, events, False, given=given)
    assert "%d.%m.%Y %H:%M | %d/%m/%Y" in caught.value.hint
    both = FileForm(time_format="%d.%m.%Y %H:%M | %d/%m/%Y")
    guesses = start_workspace(tmp_path / "ws", items, events, False, given=both)
    assert guesses["events"].form.time_format == both.time_format


@pytest.mark.parametrize(
    "cells", [["0", "1", "2"], ["10.5", "99999999"], ["1985-01-01", "1961-02-03T10:00:00Z"]]
)
def test_an_order_and_old_times_need_no_format(tmp_path: Path, cells: list[str]) -> None:
    orders(tmp_path, cells)
    items, events = tmp_path / "items.csv", tmp_path / "events.csv"
    guesses = start_workspace(tmp_path / "ws", items, events, False)
    assert guesses["events"].form.time_format == ""


@pytest.mark.parametrize(
    "form", [FileForm(encoding="foo"), FileForm(time_format="%Q"), FileForm(time_format="%d %I")]
)
def test_options_that_say_no_form_are_refused(tmp_path: Path, form: FileForm) -> None:
    orders(tmp_path, ["1700000000"])
    items, events = tmp_path / "items.csv", tmp_path / "events.csv"
    with pytest.raises(ConfigError, match=form.encoding or form.time_format):
        start_workspace(tmp_path / "ws", items, events, False, given=form)


def test_a_broken_line_of_utf8_is_no_other_encoding(tmp_path: Path) -> None:
    lines = [f"p{n};Größe 양말 {n}".encode() for n in range(20)]
    (tmp_path / "items.csv").write_bytes(b"\n".join([b"id;name", *lines, b"p20;Gr\xf6\xdfe"]))
    assert guess_encoding(tmp_path / "items.csv") == ""
    done = serendip_here("init", "-w", "ws", "--items", "items.csv", cwd=tmp_path)
    assert done.returncode != 0
    assert "line 22: is not utf-8" in " ".join(done.stderr.split())


def test_a_short_file_has_the_encoding_of_its_items(tmp_path: Path) -> None:
    text = "번호;이름\n" + "".join(f"p{n};따뜻한 겨울 양말입니다\n" for n in range(3))
    (tmp_path / "items.csv").write_bytes(text.encode("cp949"))
    rows = "user;item;time;device\nu;p1;1700000000;앱\nv;p2;1700000001;앱\n"
    (tmp_path / "events.csv").write_bytes(rows.encode("cp949"))
    assert guess_encoding(tmp_path / "events.csv") != "cp949"
    assert guess_encoding(tmp_path / "events.csv", "cp949") == "cp949"
    items, events = tmp_path / "items.csv", tmp_path / "events.csv"
    guesses = start_workspace(tmp_path / "ws", items, events, False)
    assert {guess.form.encoding for guess in guesses.values()} == {"cp949"}
