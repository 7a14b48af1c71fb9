"""Events of files: every spelling, format and type, and what is refused with its line."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serendip.data.events.event import Event
from serendip.errors import DataError
from serendip.files import tables
from serendip.files.config import EventsConfig, ItemsConfig
from serendip.files.events import read_events
from serendip.files.items import read_items

WHITESPACE = [sign for sign in map(chr, range(sys.maxunicode + 1)) if sign.isspace()]


def read_csv(folder, name, rows):
    lines = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
    (folder / "e.csv").write_text(f"user,item,ts,{name}\n" + "\n".join(lines) + "\n")
    return list(read_events(EventsConfig(path="e.csv"), folder))


def test_times_of_a_parquet_file_without_a_zone_are_of_the_settings(tmp_path):
    moments = [datetime(2026, 7, 1, 12), datetime(2026, 1, 1, 12)]
    columns = {"user": ["u", "u"], "item": ["i", "i"], "value": ["1_0", "2"]}
    for zone, shift in ((None, [7_200, 3_600]), ("UTC", [0, 0])):
        times = pa.array(moments, pa.timestamp("us", zone))
        pq.write_table(pa.table({**columns, "ts": times}), tmp_path / "e.parquet")
        config = EventsConfig(path="e.parquet", time_zone="Europe/Berlin")
        found = [event.timestamp for event in read_events(config, tmp_path)]
        utc = [moment.replace(tzinfo=UTC).timestamp() for moment in moments]
        assert found == [moment - hours for moment, hours in zip(utc, shift, strict=True)]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("encoding", "morse"), ("encoding", "hex"), ("encoding", "undefined")),
        *(("encoding", "a\0b"), ("time_zone", "Mars/Olympus"), ("time_format", "%H:%M")),
    ],
)
def test_a_form_that_is_none_is_refused(key, value):
    with pytest.raises(ValueError, match=re.escape(repr(value)[1:-1])):
        EventsConfig(**{key: value})


def test_utf16_without_a_byte_order_mark_is_refused_with_the_next_step(tmp_path):
    (tmp_path / "e.csv").write_bytes("user,item,ts\nu,i,1\n".encode("utf-16-le"))
    with pytest.raises(DataError, match=r"is not utf-16: .*BOM") as caught:
        list(read_events(EventsConfig(path="e.csv", encoding="utf-16"), tmp_path))
    assert "Name another `encoding`" in caught.value.hint


def test_amounts_for_people_are_numbers(tmp_path):
    config = EventsConfig(path="e.csv", decimal=",")
    cells = ["1.234,56 €", "5", "-3,5", ""]
    (tmp_path / "e.csv").write_text("user;item;ts;value\n" + "".join(f"u;i;1;{c}\n" for c in cells))
    read = list(read_events(config, tmp_path))
    assert [event.value for event in read] == [1234.56, 5.0, -3.5, None]
    (tmp_path / "e.csv").write_text("user;item;ts;value\nu;i;1;5\nu;i;1;much\n")
    with pytest.raises(DataError, match="line 3: value 'much' is not a finite number with ','"):
        list(read_events(config, tmp_path))


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_a_file_of_another_encoding_is_read_and_its_lines_are_named(tmp_path, encoding):
    lines = ["user;item;ts", "Jürgen;Größe;1", "Jürgen;Straße;2"]
    (tmp_path / "e.csv").write_bytes("\n".join(lines).encode(encoding))
    config = EventsConfig(path="e.csv", encoding=encoding)
    assert [event.item_id for event in read_events(config, tmp_path)] == ["Größe", "Straße"]
    (tmp_path / "e.csv").write_bytes("\n".join([*lines, "Jürgen;Straße;never"]).encode(encoding))
    with pytest.raises(DataError, match=r"e\.csv: 1 row is broken: line 4: timestamp 'never'"):
        list(read_events(config, tmp_path))


def test_a_line_of_another_encoding_than_the_stated_one_is_named(tmp_path):
    text = "user,item,ts\nu,i,1\nJürgen,i,2\n"
    (tmp_path / "e.csv").write_bytes(text.encode("cp1252"))
    with pytest.raises(DataError, match=r"e\.csv: line 3 is not utf-8") as caught:
        list(read_events(EventsConfig(path="e.csv", encoding="utf-8"), tmp_path))
    assert "Name another `encoding`" in caught.value.hint
    with pytest.raises(DataError, match="line 3: is not utf-8") as caught:
        list(read_events(EventsConfig(path="e.csv"), tmp_path))
    assert 'encoding = "cp1252"' in caught.value.hint


@pytest.mark.parametrize(
    ("name", "text", "number"),
    [
        *(("value", "", None), ("value", " ", None), ("value", "4.5", 4.5), ("value", " -0 ", 0.0)),
        *(("value", "+1", 1.0), ("value", "1e-5", 1e-5), ("value", "4.", 4.0)),
        *(("position", "", None), ("position", "7", 7), ("position", " 07 ", 7)),
        *(("position", "1_0", 10), ("propensity", "", None), ("propensity", "0.25", 0.25)),
        ("propensity", " 1e-3 ", 1e-3),
    ],
)
def test_numbers_are_those_of_python(tmp_path, name, text, number):
    (event,) = read_csv(tmp_path, name, [("u", "i", "1", text)])
    assert getattr(event, name) == number


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("0", "propensity 0.0 is not a probability above 0"),
        ("1.01", "propensity 1.01 is not a probability above 0"),
        ("nan", "propensity 'nan' is not a finite number"),
        ("half", "propensity 'half' is not a finite number"),
    ],
)
def test_a_wrong_propensity_is_refused_with_its_line(tmp_path, text, problem):
    with pytest.raises(DataError, match=re.escape(f"line 3: {problem}")):
        read_csv(tmp_path, "propensity", [("u", "i", "1", "0.5"), ("u", "i", "1", text)])


def test_white_space_is_what_python_says_it_is(tmp_path):
    lines = [json.dumps({"id": f"{sign}a{sign}b{sign}", "title": sign}) for sign in WHITESPACE]
    (tmp_path / "i.jsonl").write_text("\n".join(lines))
    items = list(read_items(ItemsConfig(path="i.jsonl"), tmp_path))
    assert [item.item_id for item in items] == [f"a{sign}b" for sign in WHITESPACE]
    assert {item.title for item in items} == {""}
    lines = [json.dumps({"user": f"{sign}u{sign}", "item": "i", "ts": 1}) for sign in WHITESPACE]
    (tmp_path / "e.jsonl").write_text("\n".join(lines))
    events = list(read_events(EventsConfig(path="e.jsonl"), tmp_path))
    assert [event.user_id for event in events] == ["u"] * len(WHITESPACE)


@pytest.mark.parametrize(
    ("sql", "seconds"),
    [
        ("1700000000::INTEGER", 1.7e9),
        ("1700000000123::BIGINT", 1700000000.123),
        ("1700000000.5::DOUBLE", 1700000000.5),
        ("1700000000.25::DECIMAL(18, 2)", 1700000000.25),
        ("1.5::FLOAT", 1.5),
        ("TIMESTAMP '2023-11-14 22:13:20.123456'", 1700000000.123456),
        ("TIMESTAMP_MS '2023-11-14 22:13:20.123'", 1700000000.123),
        ("TIMESTAMP_NS '2023-11-14 22:13:20.123456789'", 1700000000.123456),
        ("TIMESTAMPTZ '2023-11-14 22:13:20+00:00'", 1.7e9),
        ("DATE '2023-11-14'", 1_699_920_000.0),
        ("'2023-11-14 22:13:20'", 1.7e9),
    ],
)
def test_every_type_of_a_parquet_file_is_a_time(tmp_path, sql, seconds):
    import duckdb

    query = f"SELECT 'u' AS user, 7 AS item, {sql} AS ts, 4.1::FLOAT AS value, 2::UTINYINT AS slot"
    duckdb.sql(f"COPY ({query}) TO '{tmp_path / 'e.parquet'}' (FORMAT parquet)")
    (event,) = read_events(EventsConfig(path="e.parquet"), tmp_path)
    assert event == Event("u", "7", seconds, value=4.1, position=2)


def test_broken_rows_of_any_batch_are_named_by_their_line(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "_BATCH", 2_048)
    rows = [f"u{number},i,{number}" for number in range(9_000)]
    rows[3_000], rows[8_000], rows[8_500] = "u,,1", "u,i,never", "u" * 600 + ",i,1"
    (tmp_path / "e.csv").write_text("user,item,ts\n" + "\n".join(rows) + "\n")
    with pytest.raises(DataError) as caught:
        read_events(EventsConfig(path="e.csv"), tmp_path).table()
    assert "e.csv: 3 rows are broken: line 3002: item_id ''" in caught.value.message
    assert "line 8002: timestamp 'never' is not a time" in caught.value.message
    assert "line 8502: user_id" in caught.value.message
