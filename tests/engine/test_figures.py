import sys
from contextlib import closing
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent / "cli"))
from commands import invoke
from wire_client import WireClient

from serendip.data import ActionRules, Event
from serendip.data.events.event_table import tabulate_events, without_empty_columns
from serendip.engine.engine import Engine
from serendip.engine.figures import Figure, count_events
from serendip.engine.request import Request
from serendip.engine.workspace import Workspace


def event(user, item, action, at, request="", query="", surface="", place=None):
    return Event(user, item, at, action, None, query, request, place, surface, propensity=None)


SEARCH = [
    *(event("u", f"i{n}", "impression", 1.0, "r1", "Red  Shoe ", "search", n) for n in range(4)),
    event("u", "i2", "click", 2.0, "r1", "Red  Shoe ", "search", 2),
    event("u", "i2", "click", 3.0, "r1", "Red  Shoe ", "search", 2),
    event("u", "i2", "purchase", 4.0, "r1"),
    event("u", "i3", "hide", 5.0, "r1"),
]
FAILED = [event("v", "", "impression", 6.0, "r2", "zzz", "search")]
FEED = [event("v", "i0", "click", 7.0, surface="home"), event("w", "i0", "like", 8.0)]
SUGGESTED = [event("w", "", "click", 9.0, "r3", "red", "suggest")]


def test_answers_searches_clicks_and_conversions_are_counted() -> None:
    events = tabulate_events([*SEARCH, *FAILED, *FEED, *SUGGESTED])
    found, shown = count_events(events, ActionRules(), 10)
    # Of the four clicks one is in an answer with impressions.
    assert list(found["total"]) == [Figure("", 4, 2, 1, 4, 3, 0.25, 2, 3, 3.0)]
    assert list(found["surfaces"]) == [
        Figure("home", 2, 0, 0, 0, 2, None, 1, 2, None),
        Figure("search", 2, 2, 1, 4, 1, 0.25, 1, 2, 3.0),
    ]
    assert [(one.name, one.without_results, one.clicks) for one in found["queries"]] == [
        ("red  shoe", 0, 1),
        ("zzz", 1, 0),
    ]
    assert next((one.name, one.shown, one.clicks) for one in found["items"]) == ("i0", 1, 2)
    assert shown == {"i0": 1, "i1": 1, "i2": 1, "i3": 1}


def test_columns_that_no_event_fills_may_be_absent() -> None:
    clicks = without_empty_columns(tabulate_events([event("u", "i0", "click", 1.0)]))
    assert "surface" not in clicks.column_names
    found, _ = count_events(clicks, ActionRules(), 10)
    assert list(found["surfaces"]) == [Figure("home", 1, 0, 0, 0, 1, None, 0, 1, None)]


def test_no_events_are_no_figures() -> None:
    found, shown = count_events(tabulate_events([]), ActionRules(), 10)
    assert not any(found.values()) and not shown


def test_a_shop_reads_its_figures_by_command_route_and_page(shop: Path) -> None:
    with closing(Engine.open(shop, lambda: 2e9)) as engine:
        old, failed = 2e9 - 8 * 86_400, "nothing <b>here</b>"
        items = [item.item_id for item in engine.recommend(Request("home", k=4)).items[:4]]
        engine.add_events(
            [
                *(event("u1", item, "impression", 2e9 - 60, "a", "", "home") for item in items),
                event("u1", items[0], "click", 2e9 - 50, "a", place=0),
                event("u1", items[1], "click", old, "b"),
                event("u1", "", "impression", 2e9 - 40, "c", failed, "search"),
            ]
        )
        with closing(Workspace.open(shop).open_store()) as store:
            store.pack()  # the same from packs as from the tail
        figures = engine.figures(7, 5)
        assert (figures.total.answers, figures.total.clicks, figures.total.shown) == (2, 1, 4)
        assert figures.coverage == pytest.approx(4 / engine.stats()["items"])
        assert figures.items[0].title
        client = WireClient(engine)
        told = client.get("/v1/figures", params={"days": 7}).json()
        assert told["total"]["click_rate"] == 0.25 and told["since"].startswith("2033-")
        page = client.get("/office", headers={"accept-language": "ko"}).text
        assert '<html lang="ko">' in page and "결과 없음" in page
        assert "nothing &lt;b&gt;here" in page
    code, told = invoke("figures", "-w", str(shop), "--days", "20000")
    assert code == 0 and told["total"]["without_results"] == 1
