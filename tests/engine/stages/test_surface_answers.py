from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_shop import add_settings, give

from serendip.data import Item
from serendip.data.item_list import tie_order
from serendip.data.query import TASKS
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.stages.pipeline import score
from serendip.engine.stages.scoring import round_scores
from serendip.models.ranker.model import action_value

Opener = Callable[[str], Engine]


@pytest.fixture
def opened(shop: Path) -> Iterator[Opener]:
    """Opens an engine over the shop with further lines in its settings."""
    engines: list[Engine] = []

    def open_with(lines: str) -> Engine:
        add_settings(shop, lines)
        engines.append(Engine.open(shop))
        return engines[-1]

    yield open_with
    for engine in engines:
        engine.close()


def ids(answer) -> list[str]:
    return [item.item_id for item in answer.items]


REQUESTS = [
    ("home", {}),
    ("next", {"item_ids": ("i4",)}),
    ("cart", {"item_ids": ("i1", "i5")}),
    ("thank_you", {"item_ids": ("i2",)}),
]


@pytest.mark.parametrize("user", ["", "u0", "u7"])
@pytest.mark.parametrize(("surface", "parameters"), REQUESTS)
def test_a_built_in_surface_orders_by_the_documented_formula(
    reader: Engine, surface: str, parameters: dict, user: str
) -> None:
    """The rules, written again: value / (20 + interactions)^discount."""
    state, config = reader.state, reader.settings.all_surfaces()[surface]
    (query,) = reader.queries([Request(surface, user, **parameters)])
    scored, _ = score([query], config, state)
    candidates, features = scored.candidates, scored.features
    ranker = state.ranker
    task = "home" if surface == "home" else "similar"
    tasks = np.full(len(features), TASKS.index(task), np.int64)
    chances = ranker.predict(features, tasks)
    values = action_value(chances, {"interact": 1.0, "like": 1.0}, ranker.config.actions)
    counts = 20.0 + state.counts[candidates.items].astype(np.float32)
    powers = {"home": ranker.discounts["home"], "next": ranker.discounts["similar"]}
    values = values / counts ** powers.get(surface, 0.0)
    values = round_scores(values)
    order = np.lexsort((tie_order(state.num_items)[candidates.items], -values))
    answer = reader.recommend(Request(surface, user, k=1_000, **parameters))
    places = {item: place for place, item in enumerate(reader.item_ids(candidates.items[order]))}
    assert sorted(ids(answer), key=places.__getitem__) == list(places)
    kept = [places[item.item_id] for item in answer.items if "explored" not in item.parts]
    assert kept == sorted(kept)
    explored = [place for place, item in enumerate(answer.items) if "explored" in item.parts]
    assert surface == "home" or not explored
    assert all(place % 10 == 9 for place in explored)
    scores = [item.score for item in sorted(answer.items, key=lambda item: places[item.item_id])]
    np.testing.assert_allclose(scores, values[order], rtol=1e-4)
    assert not any(item.sponsored for item in answer.items)
    assert not {"explored", "bid", "organic value"} & set(answer.items[0].parts)


def test_a_surface_that_does_not_read_the_user_answers_everybody_the_same(opened: Opener) -> None:
    engine = opened(
        """
[surfaces.front]
task = "home"
context = ["country", "time"]
exploration = {share = 0.2, min_taste = -9}
"""
    )
    answers = [engine.recommend(Request("front", user, k=60)) for user in ("", "u0", "u7")]
    assert answers[0].items == answers[1].items == answers[2].items
    assert ids(engine.recommend(Request("home", "u0"))) != ids(
        engine.recommend(Request("home", "u7"))
    )


def test_the_country_filter_applies_only_if_the_request_has_a_country(opened: Opener) -> None:
    engine = opened('[surfaces.home]\nfilters = ["seen", "sold=request"]\n')
    give(engine, i3={"sold": ("KR", "DE")}, i4={"sold": "kr"}, i5={"sold": ("US",)})
    assert set(ids(engine.recommend(Request("home", country="KR")))) == {"i3", "i4"}
    assert set(ids(engine.recommend(Request("home", country="us")))) == {"i5"}
    assert engine.recommend(Request("home", country="FR")).items == ()
    assert len(engine.recommend(Request("home", k=100)).items) == 60
    explanation = engine.explain(Request("home", country="kr"), "i4")
    assert explanation.trace["after sold=request"] == 2
    assert explanation.position is not None
    assert engine.explain(Request("home", country="kr"), "i5").position is None


RULES = """
[surfaces.mixed]
task = "home"
sources = {popularity = 60, sponsored = 20, new-items = 10}
filters = []
diversity = {most = 2, window = 5, levels = 1}
exploration = {share = 0.2, min_taste = -9}
sponsored = {positions = [0, 4, 7], floor = 0.2}
"""


def test_pages_of_a_surface_with_every_rule_are_parts_of_one_list(opened: Opener) -> None:
    engine = opened(RULES)
    give(engine, **{f"i{number}": {"bid": 1.0 + number} for number in range(20, 60)})
    engine.add_items([Item(f"new{number}", f"A new tale {number}") for number in range(8)])
    whole = engine.recommend(Request("mixed", "u0", k=1_000))
    assert (whole.total, whole.is_exact) == (len(whole.items), True)
    assert engine.recommend(Request("mixed", "u0", k=3)).total == whole.total
    assert sum(item.sponsored for item in whole.items) == 3
    assert any(item.parts.get("explored") for item in whole.items)
    for size in (1, 3, 7):
        pages, cursor = [], ""
        while True:
            page = engine.recommend(Request("mixed", "u0", k=size, cursor=cursor))
            pages += page.items
            cursor = page.next
            if not cursor:
                break
        # Reasons vary their kinds over a page, so those of another page may differ.
        told = [replace(item, reason="") for item in whole.items]
        assert [replace(item, reason="") for item in pages] == told


UNLEARNED = """
[surfaces.home]
action_weights = {interact = 1.0, like = 1.0, purchase = 9.0}

[surfaces.bought]
task = "home"
action_weights = {purchase = 1.0}

[surfaces.ads]
sponsored = {action = "purchase", positions = [0], floor = 0.0}
"""


def test_an_action_that_the_served_ranker_has_not_learned_counts_for_nothing(
    shop: Path, opened: Opener
) -> None:
    """As after a rollback to a generation from before the action was named."""
    before = opened("").recommend(Request("home", "u0", parts=True)).items
    path = shop / "serendip.toml"
    actions = '[ranker]\nactions = ["interact", "like", "purchase"]\n'
    path.write_text(path.read_text().replace("[ranker]\n", actions))
    engine = opened(UNLEARNED)
    assert engine.recommend(Request("home", "u0", parts=True)).items == before
    assert "P(interact)" in before[0].parts  # as the ranker has ordered them
    assert "P(interact)" not in engine.recommend(Request("bought", "u0", parts=True)).items[0].parts
    give(engine, i9={"bid": 3.0})
    assert engine.recommend(Request("ads")).items[0].sponsored


def test_a_bought_position_has_the_score_bid_times_probability(opened: Opener) -> None:
    engine = opened("[surfaces.ads]\nsponsored = {positions = [0], floor = 0.0}\n")
    organic = {item.item_id: item.score for item in engine.recommend(Request("ads", k=100)).items}
    give(engine, i9={"bid": 3.0}, i10={"bid": 0.0}, i11={"bid": -5.0}, i12={"bid": "much"})
    first = engine.recommend(Request("ads", k=100, parts=True)).items[0]
    assert (first.item_id, first.sponsored, first.parts["bid"]) == ("i9", True, 3.0)
    assert first.parts["organic value"] == pytest.approx(organic["i9"], abs=1e-4)
    assert 0 < first.score < 3.0
    shown = engine.recommend(Request("ads", k=100)).items
    assert [item.sponsored for item in shown].count(True) == 1


@pytest.mark.parametrize(("at", "sent"), [(60, 4), (2, 2), (1, 0), (0, 0)])
def test_too_few_good_items_are_not_sent(opened: Opener, at: int, sent: int) -> None:
    """``at`` items are good enough; at least two must be, at most four are sent."""
    values = [item.score for item in opened("").recommend(Request("home", "u0", k=100)).items]
    least = values[at - 1] if 0 < at <= len(values) else (values[0] + 1 if at == 0 else -1.0)
    lines = "[surfaces.post]\ntask = 'home'\nmin_value = {k = 4, min_items = 2, threshold = %r}\n"
    engine = opened(lines % least)
    assert (
        ids(engine.recommend(Request("post", "u0", k=100)))
        == ids(engine.recommend(Request("home", "u0")))[:sent]
    )
    trace = engine.explain(Request("post", "u0"), "i1").trace
    assert trace["sent"] == sent
    assert trace["after min value"] == (0 if at < 2 else min(at, len(values)))
    assert (
        engine.recommend(Request("post", "u0", k=1)).items
        == engine.recommend(Request("post", "u0")).items[:1]
    )
