"""Whole files in SQL say what reading cell by cell says, in every spelling and in every format."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serendip.data.events.event import Event
from serendip.data.files import tables
from serendip.data.files.readers import EventsConfig, ItemsConfig, read_events, read_items
from serendip.data.files.times import TimeFormat, parse_time
from serendip.errors import DataError

WHITESPACE = [sign for sign in map(chr, range(sys.maxunicode + 1)) if sign.isspace()]

MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9998, 1, 1))
TIMES = st.one_of(
    st.integers(-(10**12), 10**20).map(str),
    st.decimals(-(10**9), 10**12, places=3).map(str),
    st.floats(allow_nan=True, allow_infinity=True).map(repr),
    MOMENTS.map(lambda moment: moment.isoformat()),
    MOMENTS.map(lambda moment: moment.isoformat(" ", "seconds") + "Z"),
    MOMENTS.map(lambda moment: moment.isoformat(timespec="milliseconds") + "+05:30"),
    MOMENTS.map(lambda moment: moment.date().isoformat()),
    MOMENTS.map(lambda moment: moment.strftime("%Y%m%dT%H%M%S")),
    st.sampled_from(
        [
            *("", "never", "1_000", "+5", " 7 ", "\t8", "1e3", "1e400", ".5", "5.", "0x10"),
            *("2023-02-30", "2024-1-1", "2024-01-01T10", "2024-01-01T24:00:00", "1700000000 Z"),
            *("2024-01-01T10:00:60", "2024-01-01T10:00Z", "2024-01-01 10:00-00:30"),
        ]
    ),
)


def read_csv(folder, name, rows):
    lines = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
    (folder / "e.csv").write_text(f"user,item,ts,{name}\n" + "\n".join(lines) + "\n")
    return list(read_events(EventsConfig(path="e.csv"), folder))


def time_of(text):
    try:
        seconds = parse_time(text.strip())
    except ValueError as error:
        return str(error)
    is_date = -62_135_596_800.0 <= seconds <= 253_402_300_799.0
    return seconds if is_date else f"timestamp {seconds!r} is not a time"


@settings(max_examples=80, deadline=None)
@given(st.lists(TIMES, min_size=1, max_size=5))
def test_times_are_those_of_parse_time(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("t")
    expected = [time_of(text) for text in texts]
    problems = [
        f"line {line}: {found}" for line, found in enumerate(expected, 2) if isinstance(found, str)
    ]
    rows = [("u", "i", text, "") for text in texts]
    if problems:
        with pytest.raises(DataError, match=re.escape("; ".join(problems))):
            read_csv(folder, "surface", rows)
    else:
        events = read_csv(folder, "surface", rows)
        assert [event.timestamp for event in events] == expected


FORMATS = ("%d.%m.%Y %H:%M:%S", "%m/%d/%y %I:%M %p", "%Y%m%d", "%d %b %Y", "%H.%M '%d' (%B) %Y")
WRITTEN = st.one_of(
    st.tuples(MOMENTS, st.sampled_from(FORMATS)).map(lambda pair: pair[0].strftime(pair[1])),
    st.sampled_from(
        [
            *("", "1.2.2026 3:4:5", "01.02.26 10:00:00", "31.02.2026 10:00:00", "1/2/26 1:05 pm"),
            *("1/2/26 13:05 pm", "2026-01-01", "1700000000", "5 jan 2026", " 20260101 ", "2026011"),
            *("25.10.2026 02:30:00", "29.03.2026 02:30:00", "25.10.2026 01:59:60", "01.01.0000"),
        ]
    ),
)


def time_in_format(text: str, pattern: str, zone: str) -> float:
    if text == "1700000000" and pattern != "%Y%m%d":
        return 1_700_000_000.0
    if text == "2026-01-01":
        local = datetime(2026, 1, 1)
    elif pattern == "%Y%m%d" and len(text) != 8:  # strptime has 2026011 as January 1
        raise ValueError
    else:
        local = datetime.strptime(text, pattern)
    local = local.replace(tzinfo=ZoneInfo(zone or "UTC"))
    return max(local.timestamp(), local.replace(fold=1).timestamp())


@settings(max_examples=100, deadline=None)
@given(
    st.lists(WRITTEN, min_size=1, max_size=5),
    st.sampled_from(FORMATS),
    st.sampled_from(["", "Europe/Berlin", "Asia/Seoul"]),
)
def test_times_are_those_of_their_format(tmp_path_factory, texts, pattern, zone):
    folder = tmp_path_factory.mktemp("t")
    (folder / "e.csv").write_text("user,item,ts\n" + "".join(f'u,i,"{one}"\n' for one in texts))
    read = read_events(EventsConfig(path="e.csv", time_format=pattern, time_zone=zone), folder)
    expected = []
    for line, text in enumerate(texts, 2):
        try:
            expected.append(time_in_format(text.strip(), pattern, zone))
        except ValueError:
            with pytest.raises(DataError, match=f"line {line}: timestamp"):
                list(read)
            return
    assert [event.timestamp for event in read] == expected


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
        *(("encoding", "morse"), ("encoding", "hex"), ("time_zone", "Mars/Olympus")),
        *(("time_format", "%H:%M"), ("time_format", "%d.%m.%Y %Q"), ("time_format", "dd.mm.yyyy")),
        *(("time_format", "%d.%m.%Y %I:%M"), ("time_format", "%d.%m.%Y %H:%M %p")),
        *(("time_format", "%d.%d.%m.%Y"), ("encoding", "undefined"), ("encoding", "a\0b")),
        *(("time_zone", zone) for zone in ("localtime", "posixrules", "right/Europe/Berlin")),
    ],
)
def test_a_form_that_is_none_is_refused(key, value):
    with pytest.raises(ValueError, match=re.escape(repr(value)[1:-1])):
        EventsConfig(**{key: value})


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        ("%Y%m%d%H%M%S", "20261231170759", ["202612311707", "2026123117075"]),
        ("%Y%m%d%H%M", "202612311707", ["20261231170759", "2026123117"]),
        ("%d%m%Y", "31122026", ["1122026"]),
        ("%d.%m.%Y %H%M", "1.2.2026 1707", ["1.2.2026 177"]),
        ("%d%b%Y", "1Feb2026", ["1F2026"]),
    ],
)
def test_digits_that_no_sign_separates_are_all_there(tmp_path, pattern, good, bad):
    (tmp_path / "e.csv").write_text(f"user,item,ts\nu,i,{good}\n")
    (event,) = read_events(EventsConfig(path="e.csv", time_format=pattern), tmp_path)
    expected = datetime.strptime(good, pattern).replace(tzinfo=UTC).timestamp()
    assert event.timestamp == TimeFormat(pattern).parse(good) == expected
    for text in bad:
        (tmp_path / "e.csv").write_text(f"user,item,ts\nu,i,{text}\n")
        with pytest.raises(DataError, match="is not a time like"):
            list(read_events(EventsConfig(path="e.csv", time_format=pattern), tmp_path))


def test_utf16_without_a_byte_order_mark_is_refused_with_the_next_step(tmp_path):
    (tmp_path / "e.csv").write_bytes("user,item,ts\nu,i,1\n".encode("utf-16-le"))
    with pytest.raises(DataError, match=r"is not utf-16: .*BOM") as caught:
        list(read_events(EventsConfig(path="e.csv", encoding="utf-16"), tmp_path))
    assert "Name another `encoding`" in caught.value.hint


def test_lines_that_are_not_utf8_are_to_be_corrected_first(tmp_path):
    lines = [f"Jürgen,i,{n}".encode() for n in range(20)] + [b"J\xfcrgen,i,1"]
    (tmp_path / "e.csv").write_bytes(b"user,item,ts\n" + b"\n".join(lines))
    with pytest.raises(DataError, match="line 22: is not utf-8") as caught:
        list(read_events(EventsConfig(path="e.csv"), tmp_path))
    assert "Correct these rows, or name the encoding of the whole file" in caught.value.hint


def test_amounts_for_people_are_numbers(tmp_path):
    config = EventsConfig(path="e.csv", decimal=",")
    cells = ["1.234,56 €", "5", "-3,5", ""]
    (tmp_path / "e.csv").write_text("user;item;ts;value\n" + "".join(f"u;i;1;{c}\n" for c in cells))
    read = list(read_events(config, tmp_path))
    assert [event.value for event in read] == [1234.56, 5.0, -3.5, None]
    (tmp_path / "e.csv").write_text("user;item;ts;value\nu;i;1;5\nu;i;1;much\n")
    with pytest.raises(DataError, match="line 3: value 'much' is not a number with ','"):
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
    assert "encoding" in caught.value.hint
    with pytest.raises(DataError, match="line 3: is not utf-8") as caught:
        list(read_events(EventsConfig(path="e.csv"), tmp_path))
    assert 'encoding = "cp1252"' in caught.value.hint


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.floats(allow_nan=False, allow_infinity=False).map(repr),
            st.decimals(-(10**17), 10**17, places=5).map(str),
            st.sampled_from(["", " ", "1_0", " 4.5", "-0", "+1", "1e-5", "4.", "٣"]),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_values_are_those_of_float(tmp_path_factory, texts):
    rows = [("u", "i", "1", text) for text in texts]
    events = read_csv(tmp_path_factory.mktemp("v"), "value", rows)
    expected = [float(text) if text.strip() else None for text in texts]
    assert [event.value for event in events] == expected


@pytest.mark.parametrize(("text", "position"), [("", None), ("7", 7), (" 07 ", 7), ("1_0", 10)])
def test_positions_are_those_of_int(tmp_path, text, position):
    (event,) = read_csv(tmp_path, "position", [("u", "i", "1", text)])
    assert event.position == position


@pytest.mark.parametrize(("text", "propensity"), [("", None), ("0.25", 0.25), (" 1e-3 ", 1e-3)])
def test_propensities_are_those_of_float(tmp_path, text, propensity):
    (event,) = read_csv(tmp_path, "propensity", [("u", "i", "1", text)])
    assert event.propensity == propensity


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("0", "propensity 0.0 is not a probability above 0"),
        ("1.01", "propensity 1.01 is not a probability above 0"),
        ("nan", "propensity 'nan' is not a finite number"),
        ("half", "propensity 'half' is not a number"),
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


def test_rare_spellings_stay_at_their_places(tmp_path):
    times = ["3", "20240105T101112", "2", "1_000", "2024-01-05"]
    events = read_csv(
        tmp_path, "query", [(f"u{n}", "i", time, "q") for n, time in enumerate(times)]
    )
    assert [event.user_id for event in events] == ["u0", "u1", "u2", "u3", "u4"]
    assert [event.timestamp for event in events] == [parse_time(time) for time in times]


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
    monkeypatch.setattr(tables, "_ARROW_BATCH", 2_048)
    rows = [f"u{number},i,{number}" for number in range(9_000)]
    rows[3_000], rows[8_000], rows[8_500] = "u,,1", "u,i,never", "u" * 600 + ",i,1"
    (tmp_path / "e.csv").write_text("user,item,ts\n" + "\n".join(rows) + "\n")
    with pytest.raises(DataError) as caught:
        read_events(EventsConfig(path="e.csv"), tmp_path).table()
    assert "e.csv: 3 rows are broken: line 3002: item_id ''" in caught.value.message
    assert "line 8002: timestamp 'never' is not a time" in caught.value.message
    assert "line 8502: user_id" in caught.value.message


def test_times_with_an_offset_are_in_utc(tmp_path):
    moment = datetime(2024, 1, 5, 10, 11, 12, tzinfo=UTC).timestamp()
    (event,) = read_csv(tmp_path, "query", [("u", "i", "2024-01-05T12:11:12+02:00", "")])
    assert event.timestamp == moment
