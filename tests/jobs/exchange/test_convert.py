"""Files of other engines become items, users and events; what an export wrote comes back."""

from __future__ import annotations

import gzip
import json
import string
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
from serendip.data.event import Event
from serendip.data.item import Item
from serendip.data.log.event_table import tabulate_events
from serendip.data.store.store import Store
from serendip.data.user import User
from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError, DataError
from serendip.jobs.exchange.convert import ENGINES, convert
from serendip.jobs.exchange.export import FORMATS, export
from serendip.jobs.exchange.rows import ForeignFiles
from serendip.jobs.import_files import import_files
from serendip.jobs.init.workspace import start_workspace
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
        (metarank("interaction", "1", user="u", item="", type="click"), "item_id '' is empty"),
        (metarank("ranking", "1", user="u", items=["a"]), "items is not a list of objects"),
    ],
)
def test_a_wrong_row_of_metarank_is_named(tmp_path: Path, row: Any, problem: str) -> None:
    path = write(tmp_path / "events.jsonl", [METARANK[0], row])
    with pytest.raises(DataError, match=rf"events.jsonl, line 2: .*{problem}"):
        convert("metarank", [path], tmp_path / "out")
    assert not (tmp_path / "out").exists()


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
TIMES = st.integers(1, 4_000_000_000_000).map(lambda millis: millis / 1000)
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
            found.append(Event("u", "", 9.0, "search", query=query, request_id=request_id))
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
    rows = [
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
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["convert", "metarank", str(path), "--out", str(out)])
    assert result.exit_code == 0, result.output
    said = result.output + result.stderr
    assert "1 events without user and session were left out." in said
    assert "serendip init --items" in said


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
