import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_shop import add_settings
from wire_client import WireClient, error_of

from serendip.data import AllowedItems, Event, Item
from serendip.engine.config.serve import ServeConfig
from serendip.engine.engine import Engine
from serendip.engine.fallback import POPULAR
from serendip.engine.query_builder import QueryBuilder
from serendip.engine.request import Request
from serendip.engine.stages import pipeline
from serendip.engine.stages.filters import NotDeleted
from serendip.engine.stages.selection import Selector
from serendip.engine.stages.sources import ModelSource, WordSource, list_popular
from serendip.errors import LateError, StorageError, UnknownItemError
from serendip.serve.server_options import ServerOptions


@pytest.fixture(scope="module")
def engine(trained_folder: Path) -> Iterator[Engine]:
    with closing(Engine.open(trained_folder)) as opened:
        yield opened


def ids(answer) -> list[str]:
    return [item.item_id for item in answer.items]


def test_home_is_the_most_chosen_items_in_order_the_newest_first(engine):
    answer = engine.fall_back(Request("home", user_id="u1", k=20))
    counts = engine.state.counts[[engine.state.catalogue.vocabulary.number(i) for i in ids(answer)]]
    assert list(counts) == sorted(engine.state.counts, reverse=True)[:20]
    assert set(answer.degraded) <= {"personal", "content-only"}
    assert answer.degraded[0] == "personal"
    state = Counts([5, 0, 0, 7, 0], [-np.inf, 20.0, 30.0, 1.0, -np.inf])
    order = list_popular(AllowedItems.all(5), state, 5).item_nums  # type: ignore[arg-type]
    assert order.tolist() == [3, 0, 2, 1, 4]


def test_search_finds_by_words_alone_and_similar_by_content_without_the_item(engine):
    title = engine.state.catalogue[7].title
    answer = engine.fall_back(Request("search", text=title, k=5))
    assert ids(answer)[0] == engine.state.catalogue[7].item_id
    assert answer.degraded == ("personal",)
    nothing = engine.fall_back(Request("search", text="zqxjkv wvxqzj"))
    assert (ids(nothing), nothing.degraded) == ([], ("personal", "content-only"))

    answer = engine.fall_back(Request("similar", item_ids=("i1",), k=30))
    assert len(answer.items) == 30
    assert "i1" not in ids(answer)
    assert answer.degraded == ("personal",)


@pytest.mark.parametrize("surface", ["home", "similar", "cart", "thank_you"])
def test_pages_continue_without_doubles(engine, surface):
    whole = ids(engine.fall_back(Request(surface, item_ids=("i1",), k=12)))
    first = engine.fall_back(Request(surface, item_ids=("i1",), k=6))
    second = engine.fall_back(Request(surface, item_ids=("i1",), k=6, cursor=first.next))
    assert ids(first) + ids(second) == whole
    assert len(set(whole)) == 12


def test_deleted_and_future_items_are_on_no_rung(shop):
    with closing(Engine.open(shop)) as engine:
        best = ids(engine.fall_back(Request("home", k=3)))
        engine.delete_item(best[0])
        engine.add_items([Item("later", "Later", available_from=4e9), Item("new", "New")])
        answer = engine.fall_back(Request("home", k=1000))
        assert ids(answer)[:2] == best[1:]
        assert not {best[0], "later"} & set(ids(answer))
        assert "new" in ids(answer)
        with pytest.raises(UnknownItemError):
            engine.fall_back(Request("similar", item_ids=(best[0],)))


def test_what_the_user_hid_is_on_no_rung(shop):
    with closing(Engine.open(shop)) as engine:
        hidden = ids(engine.fall_back(Request("home", "u1", k=2)))
        for item_id in hidden:
            engine.add_events([Event("u1", item_id, time.time(), "hide")])
        engine.recommend(Request("home", "u1"))  # reads the past, whatever fails afterwards
        assert not set(hidden) & set(ids(engine.fall_back(Request("home", "u1", k=60))))
        assert set(hidden) <= set(ids(engine.fall_back(Request("home", "u2", k=60))))


def test_whether_popular_items_are_an_answer_is_a_matter_of_the_task(shop):
    add_settings(shop, "[surfaces.find]\ntask = 'search'\n")
    with closing(Engine.open(shop)) as engine:
        for surface in ("search", "find"):
            search = Request(surface, text="horror tale")
            with pytest.raises(LateError):
                engine.fall_back(search, POPULAR)
            assert not engine.fall_back(Request(surface, text="zqxjkv wvxqzj")).items
            page = Request(surface, filters=("genre=western",))
            assert engine.fall_back(page, POPULAR).items
        for surface in ("home", "digest", "similar", "cart"):
            request = Request(surface, item_ids=("i1",))
            assert engine.fall_back(request, POPULAR).items


class Counts:
    def __init__(self, counts: list[int], times: list[float]) -> None:
        self.counts, self.catalogue = np.array(counts, np.int32), self
        self.available_from, self.num_items = np.array(times), len(counts)


# Where a request can fail or hang, and what to ask then.
PLACES = {
    "query": (QueryBuilder, "build"),
    "features": (pipeline, "feature_matrix"),
    "scorers": (pipeline, "score_candidates"),
    "selection": (Selector, "results"),
}
ASKED = ["/v1/recommend?user_id=u1&limit=5", "/v1/search?q=horror+tale&user_id=u1&limit=5"]
ASKED += ["/v1/items/i1/similar?user_id=u1&limit=5"]


def break_at(monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[], None]) -> list[int]:
    """Let a stage do something else; returns a list that grows with each time it was reached."""
    owner, method = PLACES[name]
    reached = list[int]()

    def broken(*_: object, **__: object) -> None:
        reached.append(1)
        act()

    monkeypatch.setattr(owner, method, broken)
    return reached


@pytest.mark.parametrize("failure", [RuntimeError, MemoryError])
@pytest.mark.parametrize("place", ["query", "features", "scorers", "selection"])
def test_a_stage_that_fails_is_answered_without_by_all_surfaces(
    engine, monkeypatch, place, failure
):
    def fail() -> None:
        raise failure("canary")

    reached = break_at(monkeypatch, place, fail)
    client = WireClient(engine)
    for count, path in enumerate(ASKED, 1):
        body = client.get(path).json()
        assert len(body["items"]) > 0
        assert body["degraded"][0] == "personal"
        assert len(reached) == count


def test_a_store_that_cannot_be_read_leaves_items_to_be_found(engine, monkeypatch):
    def fail() -> None:
        raise StorageError("database s.db: disk I/O error.")

    break_at(monkeypatch, "query", fail)
    client = WireClient(engine)
    assert [client.get(path).status_code for path in ASKED] == [200] * 3
    assert 'serendip_degraded_answers_total{surface="similar"} 1.0' in client.get("/metrics").text
    assert client.post("/v1/search", json={"q": "horror"}).json()["degraded"] == ["personal"]


@pytest.mark.parametrize("place", ["query", "features", "scorers", "selection"])
def test_a_stage_that_hangs_is_answered_without_when_the_time_is_over(engine, monkeypatch, place):
    go, entered = threading.Event(), threading.Semaphore(0)

    def hang() -> None:
        entered.release()
        go.wait(60)
        raise RuntimeError("too late")  # so that no thread of this test goes on in the next one

    break_at(monkeypatch, place, hang)
    client = WireClient(engine, options=ServerOptions(config=ServeConfig(deadline="0.15s")))
    try:
        bodies = [client.get(path).json() for path in ASKED]
        assert [body["degraded"][0] for body in bodies] == ["personal"] * 3
        assert all(body["items"] for body in bodies)
        assert entered.acquire(timeout=20)
        # One thread is left. With all of them taken, requests that wait are answered likewise.
        more = [client.get(ASKED[0]).json() for _ in range(6)]
        assert [body["degraded"][0] for body in more] == ["personal"] * 6
    finally:
        go.set()


class Hang:
    """Something that does not end before the test does."""

    def __init__(self, call: Callable[..., object], only: str = "") -> None:
        self.opened, self.reached = threading.Event(), threading.Event()
        self._call, self._only = call, only

    def __call__(self, stage: object, *args: object) -> object:
        if self._only in ("", getattr(stage, "name", "")):
            self.reached.set()
            self.opened.wait(120)
        return self._call(stage, *args)


@contextmanager
def hanging(
    monkeypatch: pytest.MonkeyPatch, owner: type, method: str, only: str = ""
) -> Iterator[Hang]:
    hang = Hang(getattr(owner, method), only)
    monkeypatch.setattr(owner, method, lambda *args: hang(*args))
    try:
        yield hang
        assert hang.reached.is_set()
    finally:
        hang.opened.set()


DEADLINE_S, MARGIN_S = 1.0, 8.0
"""What hangs does so for far longer; the margin is for a machine that has much else to do.

So the times tell that an answer comes, and not before it may; in which order what is waited for
ends is tested with events, in ``test_gate.py``."""


def ask_in_time(engine: Engine, path: str, deadlines: float) -> dict[str, Any]:
    """The body of an answer that came when a number of deadlines were over, and little later."""
    begin = time.monotonic()
    answer = WireClient(
        engine, options=ServerOptions(config=ServeConfig(deadline=f"{DEADLINE_S}s"))
    ).get(path)
    seconds = time.monotonic() - begin
    assert deadlines * DEADLINE_S <= seconds < deadlines * DEADLINE_S + MARGIN_S
    return answer.json()


LESS = ["personal"]
NOTHING = ["personal", "content-only"]
UNTYPED = "/v1/search?q=a+horror+tale+that+nobody+typed&limit=5"


@pytest.mark.parametrize(
    ("owner", "method", "only", "path", "deadlines", "degraded"),
    [
        *((ModelSource, "retrieve", "retriever", path, 1, LESS) for path in ASKED),
        *((ModelSource, "retrieve", "content", ASKED[place], 1.5, NOTHING) for place in (0, 2)),
        (None, "encode", "", UNTYPED, 1, LESS),
        (NotDeleted, "restrict", "", ASKED[0], 2, None),  # nothing may be shown
        (WordSource, "retrieve", "", ASKED[1], 1.5, None),
    ],
)
def test_of_what_hangs_nobody_waits_longer_than_its_deadlines(
    engine, monkeypatch, owner, method, only, path, deadlines, degraded
):
    with hanging(monkeypatch, owner or type(engine._encoder), method, only):
        body = ask_in_time(engine, path, deadlines)
    if degraded is None:
        assert body["error"]["type"] == "timeout"
    else:
        assert body["degraded"][: len(degraded)] == degraded
        assert len(body["items"]) == 5


def test_what_has_no_rungs_gets_503_and_when_to_come_again(engine, monkeypatch):
    go = threading.Event()
    monkeypatch.setattr(Engine, "explain", lambda *_: go.wait(60))
    client = WireClient(engine, options=ServerOptions(config=ServeConfig(deadline="0.05s")))
    try:
        answer = client.get("/v1/explain?item_id=i1")
    finally:
        go.set()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert error_of(answer)["type"] == "timeout"
