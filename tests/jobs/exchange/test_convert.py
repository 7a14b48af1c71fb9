"""Files of other engines become items, users and events; what an export wrote comes back."""

from __future__ import annotations

import gzip
import json
import math
import random
import resource
import shlex
import signal
import string
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from serendip.cli.main import app
from serendip.data.events.event import Event
from serendip.data.items.catalogue import Item
from serendip.data.log.event_table import tabulate_events
from serendip.data.store.store import Store
from serendip.data.users.user import User
from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError, DataError, StorageError
from serendip.jobs.exchange.convert import ENGINES, convert
from serendip.jobs.exchange.export import FORMATS, export
from serendip.jobs.exchange.rows import ForeignFiles
from serendip.jobs.import_files import import_files
from serendip.jobs.init.workspace import start_workspace
from serendip.runtime.atomic_files import count_rows
from serendip.runtime.progress import SilentProgress

Rows = Iterable[Mapping[str, Any]]


def write(path: Path, rows: Rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(engine: str, *paths: Path) -> ForeignFiles:
    return ENGINES[engine](sorted(paths))


def metarank(kind: str, moment: int | str, **fields: Any) -> dict[str, Any]:
    named = [{"name": name, "value": value} for name, value in fields.pop("fields", {}).items()]
    return {"event": kind, "id": "e", "timestamp": moment, "fields": named, **fields}


# --- Metarank

NOW = 1_700_000_000_000

METARANK = [
    metarank("item", "1700000000000", item="a", fields={"title": "Tea", "price": 2.5, "new": True}),
    metarank("item", 1_700_000_000_500, item="b", fields={"title": "Pot", "tags": ["x", "y"]}),
    metarank("item", "2023-11-14T22:13:21Z", item="a", fields={"price": 3, "new": None}),
    metarank("user", "1700000000000", user="u", fields={"age": 33, "gender": "m"}),
    metarank("user", "1700000001000", user="u", fields={"age": 34}),
    metarank("user", "1700000001000", user="nobody"),
    metarank(
        "ranking",
        "1700000002000",
        user="u",
        session="s",
        fields={"query": "tea", "country": "KR"},
        items=[{"id": "b", "relevancy": 2.0}, {"id": "a"}],
    )
    | {"id": "r"},
    metarank(
        "interaction", 1700000003500, user="u", session="s", item="a", type="click", ranking="r"
    ),
    metarank(
        "interaction", "1700000004000", session="s2", item="b", type="rate", fields={"value": 4}
    ),
    metarank("ranking", "1700000005000", user="u", items=[], fields={"query": "none"})
    | {"id": "q"},
    metarank("ranking", "1700000005000", items=[{"id": "a"}]),
]


def test_metarank_has_items_users_rankings_and_interactions(tmp_path: Path) -> None:
    path = write(tmp_path / "events.jsonl", METARANK)
    files = read("metarank", path)
    assert files.valid_items() == [
        Item("a", "Tea", "", {"price": 3.0}),
        Item("b", "Pot", "", {"tags": ("x", "y")}),
    ]
    assert files.valid_users() == [User("u", {"age": 34.0, "gender": "m"})]
    of_ranking = {"query": "tea", "request_id": "r", "session_id": "s", "country": "KR"}
    assert list(files.valid_events()) == [
        Event("u", "b", 1_700_000_002.0, "impression", position=0, **of_ranking),  # type: ignore[arg-type]
        Event("u", "a", 1_700_000_002.0, "impression", position=1, **of_ranking),  # type: ignore[arg-type]
        Event("u", "a", 1_700_000_003.5, "click", position=1, **of_ranking),  # type: ignore[arg-type]
        Event("s2", "b", 1_700_000_004.0, "rate", 4.0, session_id="s2"),
        Event("u", "", 1_700_000_005.0, "search", query="none", request_id="q"),
    ]
    assert files.left_out == {"events without user and session": 1}


def test_metarank_files_may_be_compressed_and_in_any_order(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.jsonl", METARANK)
    late = write(tmp_path / "1.jsonl", [row for row in METARANK if row["event"] != "ranking"])
    rankings = tmp_path / "2.jsonl.gz"
    with gzip.open(rankings, "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in METARANK if row["event"] == "ranking")
    one, two = read("metarank", whole), read("metarank", late, rankings)
    assert set(one.valid_events()) == set(two.valid_events())
    assert one.valid_items() == two.valid_items()


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"event": "sale"}, "event 'sale' is unknown"),
        (metarank("item", "soon", item="a") | {"fields": "x"}, "fields is not a list"),
        (metarank("interaction", "soon", user="u", item="a", type="click"), "'soon' is not a time"),
        (metarank("interaction", NOW, user="u", item="", type="click"), "item_id '' is empty"),
        (metarank("ranking", NOW, user="u", items=["a"]), "items is not a list of objects"),
        (metarank("item", NOW, item="a", fields={"price": 10**400}), "price '1000.*' is not a fin"),
        (metarank("user", NOW, user="a", fields={"n": math.nan}), "n 'nan' is not a finite number"),
        (
            metarank(
                "interaction", NOW, user="u", item="a", type="rate", fields={"value": 10**400}
            ),
            "value '1000.*' is not a finite number",
        ),
        (
            metarank("interaction", "20240101", user="u", item="a", type="click"),
            "timestamp '20240101' is no time from 1990 to 2099; it looks like the date 2024-01-01",
        ),
        (
            metarank("interaction", 1_704_067_200, user="u", item="a", type="click"),
            "'1704067200' is no time .* it looks like seconds of Unix time, 2024-01-01 00:00:00,",
        ),
        (
            metarank("interaction", NOW * 1000, user="u", item="a", type="click"),
            "it looks like microseconds of Unix time, 2023-11-14 22:13:20,",
        ),
        (
            metarank("interaction", "1969-12-31T23:59:59Z", user="u", item="a", type="click"),
            "timestamp '1969-12-31T23:59:59Z' is no time from 1990 to 2099",
        ),
    ],
)
def test_a_wrong_row_of_metarank_is_named(tmp_path: Path, row: Any, problem: str) -> None:
    path = write(tmp_path / "events.jsonl", [METARANK[0], row])
    with pytest.raises(DataError, match=rf"events.jsonl, line 2: .*{problem}"):
        convert("metarank", [path], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("levels", [600, 950, 100_000])
def test_deep_values_are_refused(tmp_path: Path, levels: int) -> None:
    path = tmp_path / "events.jsonl"
    value = '{"a":' * levels + "1" + "}" * levels
    fields = f'[{{"name": "n", "value": {value}}}]'
    path.write_text(f'{{"event": "item", "item": "a", "fields": {fields}}}\n')
    with pytest.raises(DataError, match=r"1 row is broken: events.jsonl, line 1: "):
        convert("metarank", [path], tmp_path / "out")


# --- User Behavior Insights

QUERY = {
    "application": "shop",
    "query_id": "q1",
    "client_id": "c",
    "user_query": "tea",
    "timestamp": "2023-11-14T22:13:20Z",
    "query_response_hit_ids": ["a", "b"],
}


def ubi(action: str, item: Any, query_id: str, **fields: Any) -> dict[str, Any]:
    attributes = {"object": {"object_id": item, "object_id_field": "sku"}} if item else {}
    attributes |= fields.pop("attributes", {})
    moment = "2023-11-14T22:13:21.5+00:00"
    row = {"action_name": action, "query_id": query_id, "client_id": "c", "timestamp": moment}
    return {**row, "event_attributes": attributes, **fields}


def test_ubi_joins_events_with_their_queries(tmp_path: Path) -> None:
    nothing = {**QUERY, "query_id": "q2", "user_query": "xyz", "query_response_hit_ids": []}
    events = [
        ubi("click", "b", "q1"),
        ubi("purchase", 7, "q1", user_id="u", attributes={"position": {"ordinal": 4}}),
        ubi("on_search", None, "q3", message_type="QUERY", message="pot", session_id="s"),
        ubi("login", None, ""),
        {**ubi("click", "a", ""), "client_id": None},
    ]
    paths = [
        write(tmp_path / "q.ndjson", [{"index": {"_id": "1"}}, QUERY, {"_source": nothing}]),
        write(tmp_path / "e.ndjson", events),
    ]
    files = read("ubi", *paths)
    assert list(files.valid_events()) == [
        Event("c", "b", 1_700_000_001.5, "click", query="tea", request_id="q1", position=1),
        Event("u", "7", 1_700_000_001.5, "purchase", query="tea", request_id="q1", position=3),
        Event("c", "", 1_700_000_001.5, "on_search", query="pot", request_id="q3", session_id="s"),
        Event("c", "", 1_700_000_000.0, "search", query="xyz", request_id="q2"),
    ]
    assert files.left_out == {
        "events without object and query": 1,
        "events without client, user and session": 1,
    }


@pytest.mark.parametrize("hits", [5, "ab", {"a": 1}])
def test_hits_that_are_no_list_are_refused(tmp_path: Path, hits: Any) -> None:
    path = write(tmp_path / "q.ndjson", [{**QUERY, "query_response_hit_ids": hits}])
    with pytest.raises(DataError, match=r"q.ndjson, line 1: query_response_hit_ids .*no list"):
        convert("ubi", [path], tmp_path / "out")


def test_positions_among_many_hits_are_looked_up(tmp_path: Path) -> None:
    """10,000 events on 10,000 hits: a search through the hits for each takes many seconds."""
    hits = [f"i{number}" for number in range(10_000)]
    rows: Rows = [
        {**QUERY, "query_response_hit_ids": hits},
        *(ubi("click", item, "q1") for item in hits),
    ]
    files = read("ubi", write(tmp_path / "e.ndjson", rows))
    began = time.process_time()
    assert [event.position for event in files.valid_events()] == list(range(10_000))
    assert time.process_time() - began < 2.0


def test_ordinals_of_a_file_with_a_zero_count_from_zero(tmp_path: Path) -> None:
    events = [ubi("click", "a", "q", attributes={"position": {"ordinal": at}}) for at in (0, 3)]
    files = read("ubi", write(tmp_path / "e.ndjson", events))
    assert [event.position for event in files.valid_events()] == [0, 3]


def test_an_export_for_ubi_keeps_the_schema(tmp_path: Path) -> None:
    events = [
        Event("u", "a", 5.25, "impression", query="tea", request_id="r", position=0),
        Event("u", "b", 5.25, "impression", query="tea", request_id="r", position=1),
        Event("u", "b", 6.0, "click", query="tea", request_id="r", position=1, surface="search"),
        Event("v", "a", 7.0, "rate", 4.0, session_id="s", country="KR"),
    ]
    FORMATS["ubi"]().write_events(tmp_path, tabulate_events(events))
    lines = [json.loads(line) for line in (tmp_path / "ubi_events.ndjson").read_text().splitlines()]
    assert lines[::2] == [{"index": {"_index": "ubi_events"}}] * 4
    assert lines[5] == {
        "application": "search",
        "action_name": "click",
        "query_id": "r",
        "client_id": "u",
        "user_id": "u",
        "timestamp": "1970-01-01T00:00:06+00:00",
        "message_type": "QUERY",
        "message": "tea",
        "event_attributes": {
            "surface": "search",
            "object": {"object_id": "b", "object_id_field": "item_id"},
            "position": {"ordinal": 2},
        },
    }
    assert lines[7]["event_attributes"]["value"] == 4.0
    action, query = map(json.loads, (tmp_path / "ubi_queries.ndjson").read_text().splitlines())
    assert action == {"index": {"_index": "ubi_queries"}}
    assert query == {
        "query_id": "r",
        "client_id": "u",
        "user_query": "tea",
        "timestamp": "1970-01-01T00:00:05.250000+00:00",
        "object_id_field": "item_id",
        "query_response_id": "r",
        "query_response_hit_ids": ["a", "b"],
    }


# --- what an export wrote comes back

IDS = st.text(string.ascii_letters + "0123456789-éß한", min_size=1, max_size=6)
WORDS = st.lists(IDS, min_size=1, max_size=3).map(" ".join)
NUMBERS = st.floats(-1e6, 1e6, allow_nan=False).map(lambda number: round(number, 3) + 0.0)
TIMES = st.integers(700_000_000_000, 4_000_000_000_000).map(lambda millis: millis / 1000)
COLUMNS = {
    "plan": WORDS,
    "price": NUMBERS,
    "tags": st.lists(IDS, min_size=1, max_size=3).map(tuple),
}
ATTRIBUTES = st.fixed_dictionaries({}, optional=COLUMNS)
ITEMS = st.lists(
    st.builds(Item, IDS, WORDS, st.just(""), ATTRIBUTES),
    max_size=5,
    unique_by=lambda item: item.item_id,
)
USERS = st.lists(
    st.builds(User, IDS, ATTRIBUTES.filter(bool)), max_size=5, unique_by=lambda user: user.user_id
)
CHOICES = st.builds(Event, IDS, IDS, TIMES, st.sampled_from(["click", "buy"]), st.none())
RATINGS = st.builds(Event, IDS, IDS, TIMES, st.just("rate"), st.integers(2, 5).map(float))
REQUESTS = st.lists(
    st.builds(
        Event,
        IDS,
        IDS,
        TIMES,
        st.sampled_from(["impression", "click"]),
        st.none() | NUMBERS,
        position=st.none() | st.integers(0, 99),
        surface=st.just("") | IDS,
        session_id=st.just("") | IDS,
        event_id=st.just("") | IDS,
        country=st.just("") | IDS,
        device=st.just("") | IDS,
        propensity=st.none() | st.floats(0.01, 1.0),
    ),
    min_size=1,
    max_size=4,
)


@st.composite
def searches(draw: st.DrawFn) -> list[Event]:
    """Events of requests, each with one text and one position per item; or of none."""
    found: list[Event] = []
    for number, events in enumerate(draw(st.lists(REQUESTS, max_size=4))):
        query, request_id = draw(st.just("") | WORDS), draw(st.sampled_from(["", f"r{number}"]))
        place: dict[str, int | None] = {}
        for event in events:
            position = place.setdefault(event.item_id, event.position)
            found.append(replace(event, query=query, request_id=request_id, position=position))
        if query:
            found.append(Event("u", "", 1e9, "search", query=query, request_id=request_id))
    return found


def come_back(
    engine: str, items: list[Item], users: list[User], events: list[Event]
) -> ForeignFiles:
    """The files that an export writes, read; the folder is gone then, so all is read at once."""
    writer = FORMATS[engine]()
    with TemporaryDirectory() as name:
        folder = Path(name)
        writer.write_items(folder, items)
        writer.write_users(folder, users)
        writer.write_events(folder, tabulate_events(events))
        files = read(engine, *folder.iterdir())
        assert files.valid_items() == items
        assert files.valid_users() == users
        assert list(files.valid_events()) == events
    return files


@settings(max_examples=30, deadline=None)
@given(ITEMS, USERS, st.lists(CHOICES | RATINGS, max_size=8), st.data())
def test_gorse_gives_back_what_it_has_a_place_for(
    items: list[Item], users: list[User], events: list[Event], data: st.DataObject
) -> None:
    timed = [replace(item, available_from=data.draw(st.none() | TIMES)) for item in items]
    assert come_back("gorse", timed, users, events).left_out == {}


@settings(max_examples=30, deadline=None)
@given(ITEMS, USERS, st.lists(CHOICES | RATINGS, max_size=8))
def test_recbole_gives_back_what_it_has_a_place_for(
    items: list[Item], users: list[User], events: list[Event]
) -> None:
    assert come_back("recbole", items, users, events).left_out == {}


@settings(max_examples=40, deadline=None)
@given(searches())
def test_ubi_gives_back_every_field_of_events(events: list[Event]) -> None:
    assert come_back("ubi", [], [], events).left_out == {}


# --- from end to end


def shop(folder: Path) -> Workspace:
    folder.mkdir()
    (folder / "serendip.toml").write_text("")
    items = [Item("a", "Green tea", "", {"price": 2.5}), Item("b", "Black tea", "", {"price": 3.0})]
    events = [
        Event("u", "a", 1_700_000_000.0, "click", query="tea", request_id="r", position=0),
        Event("v", "b", 1_700_000_001.5, "rate", 4.5),
        Event("u", "b", 1_700_000_002.0, "purchase"),
    ]
    with closing(Store.create(folder / "serendip.db")) as store:
        store.put_items(items)
        store.put_events(events)
        store.users.put(User("u", {"plan": "paid"}))
    return Workspace.open(folder)


@pytest.mark.parametrize("engine", ["gorse", "recbole", "ubi"])
def test_a_shop_goes_to_another_engine_and_comes_back(tmp_path: Path, engine: str) -> None:
    workspace = shop(tmp_path / "shop")
    export(workspace, tmp_path / "there", engine, SilentProgress())
    back = tmp_path / "back"
    summary = convert(engine, list((tmp_path / "there").iterdir()), back)
    assert summary.events == 3
    catalogue = back / "items.parquet"
    if not catalogue.exists():
        export(workspace, tmp_path / "catalogue", "parquet", SilentProgress())
        catalogue = tmp_path / "catalogue" / "items.parquet"
    users = back / "users.parquet"
    events = back / "events.parquet"
    start_workspace(
        tmp_path / "again", catalogue, events, False, users=users if users.exists() else None
    )
    again = Workspace.open(tmp_path / "again")
    import_files(again)
    with closing(workspace.open_store()) as before, closing(again.open_store()) as after:
        assert after.items() == before.items()
        found, expected = after.history("u", 9), before.history("u", 9)
        assert [(e.item_id, e.action, e.value) for e in found] == [
            (e.item_id, e.action, e.value) for e in expected
        ]
        assert after.history("v", 9) == before.history("v", 9)
        if engine == "ubi":
            assert found == expected
        else:
            assert after.users.all() == before.users.all()


def test_hidden_items_and_values_that_say_nothing_are_left_out_of_gorse(tmp_path: Path) -> None:
    rows: Rows = [
        {"ItemId": "a", "IsHidden": True, "Timestamp": "2020-01-01T00:00:00Z"},
        {"ItemId": "b", "Timestamp": "0001-01-01T00:00:00Z", "Labels": ["x"], "Comment": "Tea"},
        {"ItemId": "c", "Categories": ["pots"], "Labels": {"of": {"brand": "Acme"}}},
        {
            "FeedbackType": "like",
            "UserId": "u",
            "ItemId": "b",
            "Value": 1,
            "Timestamp": "2020-01-01",
        },
        {
            "FeedbackType": "star",
            "UserId": "u",
            "ItemId": "b",
            "Value": 1,
            "Timestamp": "2020-01-01",
        },
        {
            "FeedbackType": "star",
            "UserId": "u",
            "ItemId": "c",
            "Value": 5,
            "Timestamp": "2020-01-01",
        },
    ]
    files = read("gorse", write(tmp_path / "gorse.jsonl", rows))
    assert files.valid_items() == [
        Item("b", "Tea", "", {"labels": ("x",)}),
        Item("c", "", "", {"of.brand": "Acme", "categories": ("pots",)}),
    ]
    assert [event.value for event in files.valid_events()] == [None, 1.0, 5.0]
    assert files.left_out == {"items that are hidden": 1}


def test_the_command_tells_what_comes_next(tmp_path: Path) -> None:
    path = write(tmp_path / "events.jsonl", METARANK)
    out = tmp_path / "my files"
    result = CliRunner().invoke(app, ["convert", "metarank", str(path), "--out", str(out)])
    assert result.exit_code == 0, result.output
    said = result.output + result.stderr
    assert "1 events without user and session were left out." in said
    quoted = shlex.quote(str(out / "items.parquet"))
    assert quoted.startswith("'")
    assert f"Next: serendip init --items {quoted} --events" in said


def test_broken_rows_are_counted_and_the_first_ones_named(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    click = json.dumps(metarank("interaction", NOW, user="u", item="a", type="click"))
    no_time = json.dumps(metarank("interaction", "", user="u", item="a", type="click"))
    wrong = ["no JSON", json.dumps({"event": "sale"}), json.dumps([1]), no_time]
    path.write_text("".join(f"{line}\n" for line in [click, *wrong, click, *wrong]))
    with pytest.raises(DataError) as raised:
        convert("metarank", [path], tmp_path / "out")
    message = str(raised.value)
    assert message.startswith("8 rows are broken: events.jsonl, line 2: not JSON")
    assert "events.jsonl, line 5: timestamp is empty" in message
    assert "line 7: not JSON" in message and "line 8" not in message
    assert "and 3 more" in message


def test_rows_without_a_place_are_counted(tmp_path: Path) -> None:
    rows: Rows = [
        {"ItemId": "a"},
        {"x": 1},
        {"UserId": "u", "Labels": {"user_id": "u", "plan": "paid"}},
    ]
    files = read("gorse", write(tmp_path / "gorse.jsonl", rows))
    assert (len(files.valid_items()), files.valid_users()) == (1, [User("u", {"plan": "paid"})])
    assert files.left_out == {
        "rows without ItemId, UserId and FeedbackType": 1,
        "fields with the name of a column": 1,
    }
    files = read("ubi", write(tmp_path / "ubi.jsonl", [{"x": 1}, {"query_id": "q"}]))
    assert list(files.valid_events()) == []
    assert files.left_out == {
        "rows without action_name and query_id": 1,
        "queries without events and time": 1,
    }


def test_other_files_of_recbole_are_named_and_others_refused(tmp_path: Path) -> None:
    inter = tmp_path / "data.inter"
    inter.write_text("user_id:token\titem_id:token\ttimestamp:float\nu\ti\t1704067200\n")
    graph, table = tmp_path / "data.kg", tmp_path / "data.csv"
    graph.write_text("a\tb\n")
    table.write_text("x,y\n")
    assert convert("recbole", [inter, graph], tmp_path / "out").left_out == {"files .kg": 1}
    with pytest.raises(DataError, match=r"data\.csv: RecBole has no such files"):
        convert("recbole", [inter, table], tmp_path / "out2")


def test_a_damaged_compressed_file_is_named(tmp_path: Path) -> None:
    numbers = random.Random(0)
    lines = [f'{{"event":"item","item":"{numbers.randrange(10**9)}"}}\n' for _ in range(900)]
    whole = gzip.compress("".join(lines).encode())
    damaged = bytearray(whole)
    middle = len(damaged) // 2
    damaged[middle : middle + 40] = bytes(40)
    path = tmp_path / "events.jsonl.gz"
    for content in (damaged, whole[:middle], whole[:10] + b"\xff" * 99, b"no gzip"):
        path.write_bytes(bytes(content))
        with pytest.raises(DataError, match=r"events.jsonl.gz.*cannot be read"):
            convert("metarank", [path], tmp_path / "out")


def test_a_conversion_that_fails_while_it_writes_leaves_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "events.jsonl", METARANK)
    out = tmp_path / "out"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))  # as a disk that is full
    try:
        with pytest.raises(StorageError, match="cannot be written"):
            convert("metarank", [path], out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, previous)
    assert not out.exists()
    assert convert("metarank", [path], out).events == 5
    assert sorted(file.name for file in out.iterdir()) == [
        *("events.parquet", "items.parquet", "users.parquet"),
    ]


# --- any JSON

_ENDS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
_LARGE = st.sampled_from([10**400, -(10**400), "20240101", "\ud800", "\0", NOW, "2024-01-01"])
_IDS = st.sampled_from(["a", "b", 7, "", None])
ANY: st.SearchStrategy[Any] = st.recursive(
    _ENDS | _LARGE | _IDS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
_NAMED = st.dictionaries(
    st.sampled_from(["title", "item_id", "user_id", "available_from", "value", "query", "", "x"]),
    ANY,
    max_size=3,
)
_FIELDS = _NAMED.map(lambda row: [{"name": name, "value": row[name]} for name in row])
_OBJECT = st.fixed_dictionaries({"object_id": _IDS | ANY})
KEYS: Mapping[str, Mapping[str, st.SearchStrategy[Any]]] = {
    "gorse": {
        **{name: _IDS for name in ("ItemId", "UserId")},
        "FeedbackType": st.sampled_from(["click", "star"]),
        "Labels": _NAMED,
        **{name: _LARGE for name in ("Value", "Timestamp")},
        **{name: ANY for name in ("Categories", "Comment", "IsHidden")},
    },
    "metarank": {
        "event": st.sampled_from(["item", "user", "ranking", "interaction"]),
        "timestamp": _LARGE,
        **{name: _IDS for name in ("id", "item", "user", "session", "ranking")},
        "type": st.sampled_from(["click", "rate"]),
        "fields": _FIELDS,
        "items": st.lists(st.fixed_dictionaries({"id": _IDS}), max_size=3),
    },
    "ubi": {
        "action_name": st.sampled_from(["click", "impression"]),
        **{name: _IDS for name in ("query_id", "client_id", "user_id", "session_id")},
        "timestamp": _LARGE,
        "query_response_hit_ids": st.lists(_IDS, max_size=3),
        "event_attributes": st.fixed_dictionaries(
            {}, optional={"object": _OBJECT, "position": st.fixed_dictionaries({"ordinal": ANY})}
        ),
        **{name: ANY for name in ("_source", "index", "user_query", "message", "query_attributes")},
    },
    "recbole": {},
}


@st.composite
def rows_of(draw: st.DrawFn, engine: str) -> Any:
    """JSON that has, now and then, what the engine's rows have."""
    names = KEYS[engine]
    row = {
        name: draw(strategy if draw(st.integers(0, 7)) else ANY)
        for name, strategy in names.items()
        if draw(st.booleans())
    }
    return row if row else draw(ANY)


@pytest.mark.parametrize("engine", sorted(KEYS))
@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_whatever_the_lines_are_they_are_converted_or_refused(
    engine: str, data: st.DataObject
) -> None:
    rows = data.draw(st.lists(rows_of(engine), min_size=1, max_size=4))
    with TemporaryDirectory() as name:
        path = Path(name) / "rows.inter"
        lines = [json.dumps(row) for row in rows]
        if engine == "recbole":
            types = st.sampled_from(["token", "float", "token_seq", "", "x"])
            columns = st.sampled_from(["user_id", "item_id", "timestamp", "rating", "", "x y"])
            header = data.draw(st.lists(st.builds("{}:{}".format, columns, types), min_size=1))
            path = path.with_suffix(data.draw(st.sampled_from([".inter", ".item", ".user"])))
            lines = ["\t".join(header), *(line.replace(", ", "\t") for line in lines)]
        path.write_text("".join(f"{line}\n" for line in lines))
        out = Path(name) / "out"
        try:
            converted = convert(engine, [path], out)
        except DataError as error:
            assert "line " in str(error) or "the files have no items" in str(error)
            assert not out.exists()
        else:
            found = [out / f"{kind}.parquet" for kind in ("items", "users", "events")]
            counts = [count_rows(path) if path.exists() else 0 for path in found]
            assert counts == [converted.items, converted.users, converted.events]


def test_wrong_engines_files_and_folders_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "events.jsonl", METARANK)
    with pytest.raises(ConfigError, match="engine 'x' is unknown"):
        convert("x", [path], tmp_path / "out")
    with pytest.raises(ConfigError, match="is not empty"):
        convert("metarank", [path], tmp_path)
    with pytest.raises(DataError, match="is not a file"):
        convert("metarank", [tmp_path / "none.jsonl"], tmp_path / "out")
    with pytest.raises(DataError, match="no items, users or events of gorse"):
        convert("gorse", [path], tmp_path / "out")
    (tmp_path / "x.item").write_text("item_id\na\n")
    with pytest.raises(DataError, match="line 1: a column has no type"):
        convert("recbole", [tmp_path / "x.item"], tmp_path / "out")
