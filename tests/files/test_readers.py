import gzip
import json
import sys
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serendip.data import Event, Item
from serendip.data.limits import (
    MAX_ATTRIBUTE_VALUES,
    MAX_ATTRIBUTES,
    MAX_ID_BYTES,
    MAX_QUERY_CHARS,
    MAX_ROW_CHARS,
    MAX_TEXT_CHARS,
)
from serendip.errors import DataError
from serendip.files import tables
from serendip.files.config import EventsConfig, ItemsConfig
from serendip.files.events import read_events
from serendip.files.items import read_items


def items_of(folder, name, text, **config):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(read_items(ItemsConfig(path=name, **config), folder))


def events_of(folder, name, text, **config):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(read_events(EventsConfig(path=name, **config), folder))


def parquet(folder, name, query):
    import duckdb

    duckdb.sql(f"COPY ({query}) TO '{folder / name}' (FORMAT parquet)")


def test_films_are_read_with_lists_numbers_and_spoken_titles(tmp_path):
    text = (
        "movieId,title,genres,runtime,shelf\n"
        '1,"Matrix, The (1999)",Action|Sci-Fi,136,A1\n'
        "007,Solo,Drama,,12\n"
    )
    assert items_of(tmp_path, "films.csv", text, title_style="library") == [
        Item(
            "1",
            "The Matrix",
            "",
            {"genres": ("Action", "Sci-Fi"), "runtime": 136.0, "shelf": "A1", "year": 1999.0},
        ),
        Item("007", "Solo", "", {"genres": ("Drama",), "shelf": "12"}),
    ]


def test_events_are_read_with_every_column(tmp_path):
    text = (
        "user_id,item_id,timestamp,action,value,query,request_id,position,surface,session_id,"
        "event_id\nu,i,1700000000,buy,2.5,shoe,r,3,home,s,e\n"
    )
    assert events_of(tmp_path, "e.csv", text) == [
        Event("u", "i", 1.7e9, "buy", 2.5, "shoe", "r", 3, "home", "s", "e")
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_delimiters_line_ends_and_byte_order_marks(tmp_path, delimiter, ending):
    rows = [("user", "item", "ts"), ("u", "a b", "1"), ("v", "c", "2")]
    text = ending.join(delimiter.join(row) for row in rows)
    events = events_of(tmp_path, "e.csv", "﻿" + text)
    assert [(event.user_id, event.item_id) for event in events] == [("u", "a b"), ("v", "c")]


def test_three_formats_say_the_same(tmp_path):
    rows = [{"user": "u", "item": 1, "ts": 1700000000, "rating": 4.0}]
    wanted = [Event("u", "1", 1.7e9, "click", 4.0)]
    assert events_of(tmp_path, "e.csv", "user,item,ts,rating\nu,1,1700000000,4.0\n") == wanted
    lines = "".join(json.dumps(row) + "\n\n" for row in rows)
    assert events_of(tmp_path, "e.jsonl", lines) == wanted
    assert events_of(tmp_path, "e.jsonl.gz", gzip.compress(lines.encode())) == wanted
    parquet(
        tmp_path,
        "e.parquet",
        "SELECT 'u' AS user, 1.0::DOUBLE AS item, TIMESTAMP '2023-11-14 22:13:20' AS ts, "
        "4.0::FLOAT AS rating",
    )
    assert list(read_events(EventsConfig(path="e.parquet"), tmp_path)) == wanted


def test_parquet_lists_nulls_and_nan(tmp_path):
    parquet(
        tmp_path,
        "i.parquet",
        "SELECT 1::BIGINT AS id, ['a', 'b'] AS tags, 'nan'::DOUBLE AS price, NULL AS title "
        "UNION ALL SELECT 2, NULL, 2.5, 'two'",
    )
    assert list(read_items(ItemsConfig(path="i.parquet"), tmp_path)) == [
        Item("1", "", "", {"tags": ("a", "b")}),
        Item("2", "two", "", {"price": 2.5}),
    ]


def test_json_keeps_the_spelling_of_ids_and_the_lists(tmp_path):
    text = '{"id": 10, "tags": ["x", "y"], "n": 1.50}\n{"id": "10.0", "late": true}\n'
    assert items_of(tmp_path, "i.jsonl", text) == [
        Item("10", "", "", {"tags": ("x", "y"), "n": 1.5}),
        Item("10.0", "", "", {"late": "true"}),
    ]


@pytest.mark.parametrize("name", ["films[1].csv", "a*b.csv", "what?.csv", "it's.csv"])
def test_odd_file_names_are_names_and_not_patterns(tmp_path, name):
    assert items_of(tmp_path, name, "id\n1\n") == [Item("1")]


def test_quoted_line_breaks_do_not_confuse_line_numbers(tmp_path):
    text = 'user,item,ts\nu,"two\nlines",1\n\nu,i,never\nu,,2\n'
    with pytest.raises(DataError) as caught:
        events_of(tmp_path, "e.csv", text)
    message = caught.value.message
    assert "e.csv: 2 rows are broken" in message
    assert "line 5: timestamp 'never' is not a time" in message
    assert "line 6: item_id '' (column 'item') is empty" in message


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"id": ', "not JSON"),
        ("[1, 2]", "not a JSON object"),
        ('{"id": "\\ud800"}', "not JSON"),
        ('{"id": "a\\u0000"}', "NUL"),
        ('{"id": ""}', "is empty"),
        ('{"id": "1", "tags": ["\\u0000"]}', "attribute 'tags'"),
        ('{"id": "1", "created_at": NaN}', "not a time"),
        ("[" * 20_000, "not JSON"),
    ],
)
def test_a_broken_json_line_is_named(tmp_path, line, reason):
    with pytest.raises(DataError, match=r"i\.jsonl: 1 row is broken: line 3") as caught:
        items_of(tmp_path, "i.jsonl", f'{{"id": "ok"}}\n\n{line}\n')
    assert reason in caught.value.message


@pytest.mark.parametrize(
    ("column", "length", "reason"),
    [
        ("name", MAX_TEXT_CHARS + 1, "title (column 'name') has 65,537 characters; at most 65,536"),
        ("body", 70_000, "description (column 'body') has 70,000 characters; at most 65,536"),
        ("brand", 70_000, "attribute 'brand' has 70,000 characters; at most 65,536"),
        ("sku", MAX_ID_BYTES + 1, "(column 'sku') has 513 bytes; an id has at most 512"),
        ("tags", 70_000, "attribute 'tags' has 70,000 characters; at most 65,536"),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_cell_that_is_too_long_is_named_with_its_limit(tmp_path, kind, column, length, reason):
    sound = {"sku": "a", "name": "Lamp", "body": "b", "brand": "c", "tags": "d|e"}
    rows = [sound, sound | {"sku": "b"} | {column: "x" * length}]
    name = write_rows(tmp_path, kind, rows)
    with pytest.raises(DataError) as caught:
        list(read_items(ItemsConfig(path=name), tmp_path))
    place = {"csv": "line 3", "jsonl": "line 2", "parquet": "row 2"}[kind]
    assert caught.value.message.startswith(f"{name}: 1 row is broken: {place}: ")
    assert reason in caught.value.message


def write_rows(folder, kind, rows):
    name = f"long.{kind}"
    lines = [json.dumps(row) for row in rows]
    if kind == "csv":
        lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    if kind == "parquet":
        (folder / "rows.jsonl").write_text("\n".join(lines))
        parquet(folder, name, f"SELECT * FROM read_json_auto('{folder / 'rows.jsonl'}')")
    else:
        (folder / name).write_text("\n".join(lines))
    return name


def test_one_item_has_not_more_words_and_characters_than_an_item_may(tmp_path):
    words = [f"w{number}" for number in range(MAX_ATTRIBUTE_VALUES + 1)]
    with pytest.raises(DataError, match="'tags' has 10,001 values; at most 10,000"):
        items_of(tmp_path, "a.jsonl", json.dumps({"id": "1", "tags": words}))
    many = {f"a{number}": "x" * 60_000 for number in range(20)}
    with pytest.raises(DataError, match="has 1,200,000 characters in all; at most 1,048,576"):
        items_of(tmp_path, "b.jsonl", json.dumps({"id": "1"} | many))


def test_a_file_with_too_many_columns_is_refused_as_a_whole(tmp_path):
    names = [f"a{number}" for number in range(MAX_ATTRIBUTES + 1)]
    text = ",".join(["id", *names]) + "\n" + ",".join(["1", *names]) + "\n"
    with pytest.raises(DataError, match=r"a\.csv has 257 attribute columns; at most 256") as caught:
        items_of(tmp_path, "a.csv", text)
    assert "attributes = [" in caught.value.hint
    (item,) = items_of(tmp_path, "a.csv", text, attributes=["a7"])
    assert dict(item.attributes) == {"a7": "a7"}


@pytest.mark.parametrize(
    ("column", "length", "reason"),
    [
        ("user", MAX_ID_BYTES + 1, "(column 'user') has 513 bytes; an id has at most 512"),
        ("item", MAX_ID_BYTES + 1, "(column 'item') has 513 bytes; an id has at most 512"),
        ("words", MAX_QUERY_CHARS + 1, "query (column 'words') has 1,025 characters; at most 1,"),
        ("what", MAX_ID_BYTES + 1, "action (column 'what') has 513 bytes; an id has at most 512"),
    ],
)
def test_an_event_that_is_too_long_is_named_with_its_limit(tmp_path, column, length, reason):
    row = {"user": "u", "item": "i", "ts": "1", "words": "lamp", "what": "click"}
    columns = {"user_id": "user", "item_id": "item", "timestamp": "ts"}
    columns |= {"query": "words", "action": "what"}
    with pytest.raises(DataError) as caught:
        events_of(tmp_path, "e.jsonl", json.dumps(row | {column: "x" * length}), columns=columns)
    assert f"line 1: {reason}" in caught.value.message.replace(f"{column}_id '{'x' * 80}' ", "")


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_csv_cell_of_many_megabytes_is_named_by_its_line(tmp_path, quote):
    text = f"id,title\n1,a\n2,{quote}{'x' * (MAX_ROW_CHARS + 1)}{quote}\n3,b\n"
    with pytest.raises(DataError, match=r"a\.csv: 1 row is broken: line 3: Maximum line size"):
        items_of(tmp_path, "a.csv", text)
    with pytest.raises(DataError, match=r"b\.csv: the row of line 3 cannot be read"):
        items_of(tmp_path, "b.csv", f"{text},b\n")
    header = f"id,{quote}{'x' * (MAX_ROW_CHARS + 1)}{quote}\n1,a\n"
    with pytest.raises(DataError, match=r"c\.csv: the row of line 1 cannot be read"):
        items_of(tmp_path, "c.csv", header)


def test_an_array_of_json_has_rows_and_objects_inside_have_columns(tmp_path):
    text = '[{"id": 1, "of": {"brand": "A"}},\n {"id": 12345678901234567890123, "tags": "x"}, 7]'
    with pytest.raises(DataError, match=r"i\.json: 1 row is broken: row 3: not a JSON object"):
        items_of(tmp_path, "i.json", text)
    assert items_of(tmp_path, "i.json", text.replace(", 7]", ', {"id": "z", "tags": ["y"]}]')) == [
        Item("1", "", "", {"of.brand": "A"}),
        Item("12345678901234567890123", "", "", {"tags": ("x",)}),
        Item("z", "", "", {"tags": ("y",)}),
    ]


def test_a_missing_column_is_named_with_the_closest_one_or_asked_for(tmp_path):
    columns = {"item_id": "movie", "title": "title"}
    with pytest.raises(DataError, match="no column 'movie'; found: movieId, title") as caught:
        items_of(tmp_path, "a.csv", "movieId,title\n1,x\n", columns=columns)
    assert caught.value.hint == "Did you mean 'movieId'?"
    with pytest.raises(DataError, match="no column looks like `user_id`; found: a, b"):
        events_of(tmp_path, "e.csv", "a,b\n1,2\n")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", b"", "empty"),
        ("a.csv", b"id,id\n1,2\n", "appears twice"),
        ("a.jsonl", b"", "no JSON objects"),
        ("a.parquet", b"not parquet", "cannot be read"),
        ("a.xlsx", b"", "unknown file format"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path, name, content, reason):
    with pytest.raises(DataError, match=reason):
        items_of(tmp_path, name, content)


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r|"), max_size=12)


@settings(max_examples=40, deadline=None)
@given(titles=st.lists(CELLS, min_size=1, max_size=6))
def test_any_text_survives_csv_and_json(tmp_path_factory, titles):
    folder = tmp_path_factory.mktemp("t")
    quoted = ['"' + title.replace('"', '""') + '"' for title in titles]
    lines = "".join(f"{number},{cell}\n" for number, cell in enumerate(quoted))
    wanted = [title.strip() for title in titles]
    read = items_of(folder, "a.csv", "id,title\n" + lines)
    assert [item.title for item in read] == wanted
    lines = "".join(json.dumps({"id": n, "title": t}) + "\n" for n, t in enumerate(titles))
    assert [item.title for item in items_of(folder, "a.jsonl", lines)] == wanted


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ('id;"price, EUR, net"', 'a;"1,50"'),
        ("id;price, EUR", "a;1,50"),
        ("id;price, EUR, net", "a;1"),
    ],
)
def test_the_delimiter_is_the_one_that_lines_agree_on(tmp_path, header, row):
    items = items_of(tmp_path, "a.csv", f"{header}\n{row}\n{row.replace('a', 'b', 1)}\n")
    assert [item.item_id for item in items] == ["a", "b"]
    assert len(items[0].attributes) == 1


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


def test_a_decimal_sign_is_that_of_all_numbers_but_times(tmp_path):
    lines = ["user,item,ts,rating,slot,propensity", 'u,i,1.5,"4,5",1.000,"0,25"']
    (tmp_path / "e.csv").write_text("\n".join(lines))
    (event,) = read_events(EventsConfig(path="e.csv", decimal=","), tmp_path)
    assert (event.timestamp, event.value) == (1.5, 4.5)
    assert (event.position, event.propensity) == (1000, 0.25)
    (tmp_path / "e.csv").write_text("\n".join([*lines, 'u,i,1.5,"4,5",1,0.25']))
    with pytest.raises(DataError, match=r"propensity '0\.25' is not a probability.* with ','"):
        list(read_events(EventsConfig(path="e.csv", decimal=","), tmp_path))


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        *(("value", text, "is not a finite number") for text in ("nan", "-Infinity", "many")),
        *(("position", text, "is not a whole number") for text in ("1.5", "-1", "x", "9" * 20)),
        *(("propensity", text, "is not a probability") for text in ("0", "1.01", "nan", "half")),
    ],
)
def test_a_wrong_number_is_refused_with_its_line(tmp_path, name, text, reason):
    with pytest.raises(DataError, match=f"line 3: {name} '{text}' {reason}"):
        read_csv(tmp_path, name, [("u", "i", "1", "1"), ("u", "i", "1", text)])


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
