from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_shop import give

from serendip.data import AllowedItems, Event, Item
from serendip.data.items.attribute_test import AttributeTest
from serendip.data.rules import Rule, RuleAction, RuleSet, find_keys
from serendip.data.users.user import User
from serendip.engine.engine import Engine
from serendip.engine.fallback import POPULAR
from serendip.engine.request import Answer, Request
from serendip.engine.stages.batch import Batch, Candidates
from serendip.engine.stages.rules import weigh_places
from serendip.engine.stages.scoring import weigh_values
from serendip.errors import DataError

HOME = Request("home", "u0", k=8)
TALE = Request("search", text="tale", k=12)


def ids(answer: Answer) -> list[str]:
    return [item.item_id for item in answer.items]


def preview(engine: Engine, request: Request, *rules: Rule) -> tuple[list[str], list[str]]:
    """Ids of the items with rules, and without them."""
    after, before = engine.preview(request, rules)
    return ids(after), ids(before)


def find_absent(engine: Engine, request: Request, among: Sequence[str] = ()) -> str:
    """An item that a request may show and does not."""
    shown = ids(engine.recommend(request))
    for item_id in among or engine.state.catalogue.vocabulary.ids:
        absence = engine.explain(request, item_id).absence
        if item_id not in shown and absence is not None and absence.kind != "filter":
            return item_id
    raise AssertionError("the request shows all items")


@pytest.mark.parametrize("request_", [HOME, TALE, Request("similar", item_ids=("i5",), k=8)])
def test_pins_have_their_positions_and_the_others_keep_their_order(
    reader: Engine, request_: Request
) -> None:
    first = find_absent(reader, replace(request_, k=12))
    own = ids(reader.recommend(request_))
    second = own[-1]
    rule = Rule("p", "pin", items=(first, second), value=3)
    after, before = preview(reader, request_, rule)
    assert (after[2], after[3], before) == (first, second, own)
    assert [one for one in after if one not in (first, second)] == own[: len(own) - 2]
    pages = [replace(request_, k=2)]
    for _ in range(3):
        page = reader.preview(pages[-1], [rule])[0]
        pages.append(replace(pages[-1], cursor=page.next))
    parts = [ids(reader.preview(page, [rule])[0]) for page in pages]
    assert [item for part in parts for item in part][:8] == after[:8]


def test_a_pin_is_never_an_item_that_may_not_be_shown(engine: Engine) -> None:
    engine.add_items([Item("late", "A tale of later", available_from=4e9)])
    engine.delete_item("i1")
    engine.add_events([Event("u0", "i2", 2e9, "hide")])
    seen = engine.chosen("u0")[0].item_id
    rules = [
        Rule("p", "pin", items=("late", "i1", "i2", seen, "nobody", "i7")),
        Rule("h", "hide", items=("i7",)),
    ]
    after, before = preview(engine, HOME, *rules)
    assert after == [one for one in before if one != "i7"][: len(after)]
    fitting = Rule("p", "pin", items=("i4", "i3"))
    assert engine.state.catalogue[4].attributes["genre"] == "comedy"
    comedies, _ = preview(engine, replace(TALE, filters=("genre=horror",)), fitting)
    assert comedies[0] == "i3"
    assert "i4" not in comedies


def test_a_pin_stays_among_titles_filters_facets_and_few_results_but_not_in_an_order(
    engine: Engine,
) -> None:
    title = engine.item("i9").title
    exact = Request("search", text=title, k=5)
    assert ids(engine.recommend(exact))[0] == "i9"
    rule = Rule("p", "pin", items=("i4",))
    assert preview(engine, exact, rule)[0][:2] == ["i4", "i9"]
    engine.add_items([Item("z", "Zinc washer", attributes={"genre": "horror", "price": 1.0})])
    give(engine, i4={"genre": "horror", "price": 9.0}, i6={"genre": "horror", "price": 5.0})
    rule = Rule("p", "pin", items=("i4", "i6"), value=2)
    for more in ({"facets": ("genre",)}, {"filters": ("genre=horror",)}, {}):
        found, _ = preview(engine, Request("search", text="zinc washer", **more), rule)
        assert found[:3] == ["z", "i4", "i6"]
    by_meaning = Request("search", text="tale washing", filters=("genre=horror",), k=8)
    assert preview(engine, by_meaning, rule)[0][1:3] == ["i4", "i6"]
    assert preview(engine, Request("search", text="zinc washer", sort="price"), rule)[0] == ["z"]


def test_several_pins_of_one_position_follow_each_other(reader: Engine) -> None:
    pins = [
        Rule("b", "pin", items=("i30",), queries=("Tale!",)),
        Rule("a", "pin", items=("i31", "i30")),
        Rule("c", "pin", items=("i33",), value=1000),
    ]
    # The one for the query comes first, whatever its id.
    assert preview(reader, TALE, *pins)[0][:2] == ["i30", "i31"]
    few = Request("search", text=reader.item("i9").title, k=1000)
    assert preview(reader, few, *pins)[0][-1] == "i33"


@pytest.mark.parametrize("action", ["boost", "bury"])
def test_boosts_and_burials_move_items_of_every_sign_in_one_direction(
    reader: Engine, action: RuleAction
) -> None:
    rule = Rule("r", action, items=("i0", "i2"), value=4)
    query = replace(reader.queries([HOME])[0], rules=(rule,))
    values = np.array([-8.0, 8.0, 0.5, -8.0], np.float32)
    items = np.arange(4, dtype=np.int32)

    surface, shown = reader.settings.all_surfaces()["home"], AllowedItems.all(60)
    batch = Batch.of([query], surface, reader.state, [shown])
    weighed = weigh_values(batch, Candidates(np.zeros(4, np.int32), items), values)
    expected = [-2.0, 8.0, 2.0, -8.0] if action == "boost" else [-32.0, 8.0, 0.125, -8.0]
    assert weighed.tolist() == expected
    places = np.array([0.25, 0.5, 0.75, 0.1])
    moved = weigh_places(query, items, places, reader.state)
    assert (moved[[0, 2]] > places[[0, 2]]).all() == (action == "boost")
    assert moved[[1, 3]].tolist() == [0.5, 0.1]
    assert ((moved > 0) & (moved < 1)).all()


def test_a_boosted_value_comes_first_and_a_buried_one_last(reader: Engine) -> None:
    boosted, before = preview(reader, TALE, Rule("r", "boost", where="genre=Western", value=10))
    kinds = [reader.item(one).attributes["genre"] for one in boosted]
    assert kinds == sorted(kinds, key=lambda kind: kind != "western")
    assert boosted != before
    buried, _ = preview(reader, TALE, Rule("r", "bury", where="genre=western", value=10))
    kinds = [reader.item(one).attributes["genre"] for one in buried]
    assert "western" not in kinds[:4]
    # Also where the hits of a value have places of their own.
    comedies = Request("search", text="comedy", k=20)
    last = ids(reader.recommend(comedies))[-1]
    after, before = preview(reader, comedies, Rule("r", "boost", items=(last,), value=10))
    assert after.index(last) < before.index(last)


def test_hidden_items_are_in_no_answer_and_no_fallback(engine: Engine) -> None:
    engine.put_rules(
        [Rule("a", "hide", items=("i0", "i3")), Rule("b", "hide", where="genre=comedy")]
    )
    every = Request("home", k=60)
    for answer in (
        engine.recommend(every),
        engine.fall_back(every),
        engine.fall_back(every, rung=POPULAR),
        engine.search("tale", k=60),
        engine.search("", filters=("genre=comedy|horror",), k=60),
        engine.similar("i4", k=60),
    ):
        kinds = {engine.item(one).attributes["genre"] for one in ids(answer)}
        assert "comedy" not in kinds
        assert kinds
        assert not {"i0", "i3"} & set(ids(answer))
    assert engine.put_rules((), ["b"])
    assert not engine.put_rules((), ["b"])
    assert "i4" in ids(engine.search("comedy", k=60))


def test_the_answer_has_the_banner_and_the_address_of_the_first_rule(engine: Engine) -> None:
    engine.put_rules(
        [
            Rule("a", "banner", value="For all"),
            Rule("b", "banner", queries=("Tale",), value="For tales"),
            Rule("c", "redirect", queries=("returns",), value="/help/returns"),
        ],
    )
    told = engine.search(" TALE ")
    assert (told.banner, told.redirect) == ("For tales", "")
    assert engine.recommend(HOME).banner == "For all"
    assert engine.fall_back(TALE).banner == "For tales"
    assert engine.search("returns").redirect == "/help/returns"


def find(rule: Rule, time: float = 100.0, surface: str = "search", text: str = "", **more) -> bool:
    tests = map(AttributeTest.parse, more.get("filters", ()))
    others = [Rule(f"o{number}", "hide", queries=(f"other {number}",)) for number in range(3)]
    rules = RuleSet().changed({one.rule_id: one for one in (rule, *others)})
    return rule in rules.find(find_keys([surface], [text], tests, more.get("user", {})), time)


@pytest.mark.parametrize(
    ("conditions", "met", "missed"),
    [
        ({}, {}, None),
        ({"surfaces": ("home", "search")}, {}, {"surface": "cart"}),
        ({"queries": ("Café  crème!",)}, {"text": "cafe CREME"}, {"text": "cafe"}),
        ({"category": "kind=A|B"}, {"filters": ("x>=1", "kind=b")}, {"filters": ("kind=a|b",)}),
        ({"category": "kind=a"}, {"filters": ("kind=A",)}, {"filters": ("kind!=a",)}),
        ({"segment": "country=KR"}, {"user": {"country": "kr"}}, {"user": {"country": "DE"}}),
        ({"begins": 100.0, "ends": 101.0}, {}, {"time": 101.0}),
        ({"begins": 100.0}, {}, {"time": 99.9}),
    ],
)
def test_a_rule_applies_where_all_its_conditions_hold(conditions, met, missed) -> None:
    rule = Rule("r", "hide", items=("a",), **conditions)
    assert find(rule, **met)
    assert missed is None or not find(rule, **missed)
    if "category" in conditions:
        both = replace(rule, queries=("q",), segment="age=young")
        assert find(both, text="q", user={"age": "young"}, **met)
        assert not find(both, text="q", **met)
        assert not find(both, text="q", user={"age": "young"})


def test_a_corrected_text_and_a_user_are_met(engine: Engine) -> None:
    engine.put_users([User("u0", {"country": "KR", "tier": "Gold"})])
    engine.put_rules(
        [
            Rule("q", "banner", queries=("western",), value="West"),
            Rule("c", "banner", segment="country=kr", value="Korea"),
            Rule("t", "hide", segment="tier=gold", items=("i0",)),
        ],
    )
    assert engine.search("wesstern").banner == "West"
    assert engine.search("tale").banner == ""
    assert engine.search("tale", user_id="u0").banner == "Korea"
    assert engine.search("tale", country="KR").banner == "Korea"
    assert "i0" in ids(engine.search("tale", k=60))
    for answer in (
        engine.search("tale", user_id="u0", k=60),
        engine.fall_back(replace(TALE, user_id="u0", k=60)),
    ):
        assert "i0" not in ids(answer)


def test_a_wish_for_films_like_one_has_the_rules_of_what_was_typed(engine: Engine) -> None:
    text = f"something like {engine.item('i9').title}"
    assert engine.search(text).understood.similar_to == "i9"
    engine.put_rules([Rule("r", "pin", queries=(text,), surfaces=("search",), items=("i1",))])
    assert ids(engine.search(text))[0] == "i1"


def test_explanations_and_absences_name_the_rule(engine: Engine) -> None:
    shown = ids(engine.recommend(HOME))
    pinned = find_absent(engine, HOME)
    engine.put_rules([Rule("first", "pin", items=(pinned,))])
    pushed = engine.explain(replace(HOME, language="ko"), shown[-1]).absence
    assert (pushed.kind, pushed.stage) == ("rule", "pinned")
    assert pushed.text.endswith(": first")
    engine.put_rules(
        [
            Rule("gone", "hide", items=(shown[0],)),
            Rule("first", "pin", items=(pinned,)),
            Rule("deep", "pin", items=("i50",), value=30),
            Rule("up", "boost", items=(shown[2],)),
        ],
    )
    hidden = engine.explain(HOME, shown[0])
    assert (hidden.absence.kind, hidden.absence.stage) == ("filter", "rules")
    assert "“gone”" in hidden.absence.text
    assert hidden.rules == ("gone",)
    told = hidden.without_rules()
    assert told.rules == () and "gone" not in told.absence.text
    assert engine.explain(HOME, pinned).rules == ("first",)
    boosted = engine.explain(HOME, shown[2])
    assert boosted.rules == ("up",)
    trace = {name: boosted.trace[name] for name in boosted.trace if name.startswith("rule ")}
    assert trace == {"rule gone": 0, "rule first": 1, "rule deep": 1, "rule up": 1}
    assert boosted.trace["pinned"] == 2
    assert boosted.trace["after rules"] == boosted.trace["after request"] - 1
    assert reader_parts(engine, pinned)["pinned"] == 1.0
    deep = engine.explain(HOME, "i50")
    assert (deep.absence.kind, deep.absence.stage) == ("rule", "pinned")
    assert "deep" in deep.absence.text


def reader_parts(engine: Engine, item_id: str) -> dict[str, float]:
    return next(
        one.parts
        for one in engine.recommend(replace(HOME, parts=True)).items
        if one.item_id == item_id
    )


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (Rule("r\0", "hide", items=("a",)), "action = 'hide'"),
        (Rule("r", "shout", items=("a",)), "action = 'shout'"),  # type: ignore[arg-type]
        (Rule("r", "hide"), "items = [], where = ''"),
        (Rule("r", "hide", items=("a",), where="genre=b"), "items = ['a'], where = 'genre=b'"),
        (Rule("r", "hide", where="genre"), "filter 'genre'"),
        (Rule("r", "hide", where="brnad=Acme"), "no item has the attribute 'brnad'"),
        (Rule("r", "hide", items=("a",), value=2), "value = '2'"),
        (Rule("r", "pin", where="genre=b"), "items = [], where = 'genre=b'"),
        (Rule("r", "pin", items=("a",), value=1.5), "value = '1.5'"),
        (Rule("r", "pin", items=("a",), value=1001), "value = '1001'"),
        (Rule("r", "boost", items=("a",), value=1), "value = '1'"),
        (Rule("r", "bury", items=("a",), value="2"), "value = '2'"),
        (Rule("r", "banner"), "value = 'None'"),
        (Rule("r", "banner", value="x" * 501), "value = 'xxx"),
        (Rule("r", "banner", items=("a",), value="x"), "items = ['a']"),
        (Rule("r", "redirect", value="/a"), "a redirect of every request"),
        (Rule("r", "redirect", queries=("a",), value="//evil.example"), "value = '//evil.example'"),
        (Rule("r", "redirect", queries=("a",), value="javascript:x"), "value = 'javascript:x'"),
        (Rule("r", "redirect", queries=("a",), value="/a\nb"), "value = "),
        (Rule("r", "hide", items=("a",), category="genre>=3"), "'genre>=3' is neither"),
        (Rule("r", "hide", items=("a",), begins=2.0, ends=1.0), "ends = 1 is not after begins = 2"),
        (Rule("r", "hide", items=("a",), surfaces=("hoome",)), "surface 'hoome'"),
    ],
)
def test_a_rule_that_says_nothing_is_refused_by_name(reader: Engine, rule: Rule, told: str) -> None:
    good = Rule("good", "hide", items=("i1",))
    with pytest.raises(DataError) as refused:
        reader.put_rules([good, rule])
    assert f"rule {rule.rule_id!r}: " in refused.value.message
    assert told in refused.value.message
    assert refused.value.hint
    assert not reader.rules.by_id


@pytest.mark.parametrize(
    "value", ["https://a.example/x?y=한글", "http://a.example", "/", "/s?q=a#b"]
)
def test_addresses_and_paths_are_accepted(reader: Engine, value: str) -> None:
    rule = Rule("r", "redirect", queries=("a b",), value=value)
    assert reader.preview(Request("search", text="A  b"), [rule])[0].redirect == value


def test_a_preview_ignores_times_and_changes_nothing(engine: Engine) -> None:
    engine.put_rules([Rule("now", "hide", items=("i0",))])
    coming = Rule("soon", "hide", items=("i3",), begins=4e9)
    every = Request("home", k=60)
    after, before = preview(engine, every, coming)
    assert set(before) - set(after) == {"i3"}
    assert "i0" not in before
    after, before = preview(engine, every)
    assert set(before) - set(after) == {"i0"}
    assert set(engine.rules.by_id) == {"now"}
    engine.put_rules([coming])
    assert "i3" in ids(engine.recommend(every))


@pytest.mark.parametrize("move_database", ["sqlite", "postgresql"], indirect=True)
def test_changes_are_versions_that_stay_and_other_engines_follow(
    engine: Engine, shop: Path
) -> None:
    with closing(Engine.open(shop)) as other:
        hide = Rule("h", "hide", items=("i0",), begins=1.0, ends=4e9)
        pin = Rule("p", "pin", items=("i1",))
        assert engine.put_rules([hide, pin]) == ["h", "p"]
        assert engine.put_rules([hide, replace(pin, value=2.0)]) == ["p"]
        assert engine.put_rules((), ["p"])
        assert engine.rules.version == 4
        assert engine.rules.by_id == {"h": hide}
        other.catch_up()
        assert other.rules.by_id == {"h": hide}
        assert "i0" not in ids(other.recommend(Request("home", k=60)))
        assert engine.put_rules([pin]) == ["p"]
        history = engine._store.rules.history()
    assert [(one.version, one.rule_id) for one in history] == [
        *((1, "h"), (2, "p"), (3, "p"), (4, "p"), (5, "p"))
    ]
    assert [one.rule for one in history] == [hide, pin, replace(pin, value=2.0), None, pin]
    assert all(abs(one.changed - history[0].changed) < 600 for one in history)
    with closing(Engine.open(shop)) as reopened:
        assert reopened.rules.by_id == {"h": hide, "p": pin}
        assert reopened.rules.version == 5


def test_only_the_rules_of_a_request_are_looked_at() -> None:
    rules = {
        f"r{number}": Rule(f"r{number}", "hide", items=("a",), queries=(f"query {number}",))
        for number in range(10_000)
    }
    rules |= {"c": Rule("c", "hide", category="kind=a", items=("a",))}
    rules |= {"all": Rule("all", "hide", surfaces=("home",), items=("a",))}
    some = RuleSet().changed(rules)
    keys = find_keys(["search"], ["Query 7", "query 8"], (), {"country": "KR"})
    assert [rule.rule_id for rule in some.find(keys, 1.0)] == ["r7", "r8"]
    assert sum(len(some._index[key]) for key in keys & some._index.keys()) == 2


def test_a_condition_of_alternatives_between_attributes_is_refused(engine: Engine) -> None:
    rule = Rule("either", "banner", category="genre=horror OR genre=comedy", value="Both")
    with pytest.raises(DataError, match="neither NAME=VALUE"):
        engine.put_rules([rule])
