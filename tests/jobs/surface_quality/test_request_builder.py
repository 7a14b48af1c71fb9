from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from data_world import dataset_of

from serendip.data.events.repeats import Repeats
from serendip.data.events.search_log import LoggedRequest
from serendip.data.splits import Split, Targets, next_choices, temporal
from serendip.engine.config.settings import Settings
from serendip.jobs.surface_quality import request_builder
from serendip.jobs.surface_quality.baskets import basket_actions, read_baskets
from serendip.jobs.surface_quality.kinds import find_slices, kinds_of_items, kinds_of_users
from serendip.jobs.surface_quality.request_builder import SurfaceRequestBuilder
from serendip.jobs.surface_quality.requests import SurfaceRequests

HOUR = 3_600.0
PAST = [("u", "a", 0), ("u", "b", HOUR), ("v", "a", 2 * HOUR), ("w", "c", 3 * HOUR)]
"""Training: u chose a and b, v chose a, w chose c; d, e and f are new."""

FUTURE = [
    ("u", "c", 10 * HOUR),
    ("u", "d", 10 * HOUR + 60),
    ("u", "e", 10 * HOUR + 120),
    ("u", "a", 20 * HOUR),  # again: no target
    ("u", "f", 20 * HOUR + 60),
    ("x", "a", 30 * HOUR),
]
"""Test: two baskets of u, {c, d, e} and {a, f}, and the first event of x."""


def split_of(rows: Sequence[tuple[str, str, float]] = (*PAST, *FUTURE)) -> Split:
    return temporal(dataset_of(rows), len(PAST) / len(rows))


def builder(
    split: Split,
    limit: int = 50,
    settings: Settings | None = None,
    choices: Targets | None = None,
    repeats: Repeats | None = None,
) -> SurfaceRequestBuilder:
    def encode(texts: Sequence[str]) -> np.ndarray:
        return np.array([[len(text), 1.0] for text in texts], np.float32)

    fixed = {"serach": "search"}
    return SurfaceRequestBuilder(
        split,
        choices or split.targets,
        repeats or Repeats(),
        settings or Settings(),
        lambda text: fixed.get(text, ""),
        encode,
        limit,
    )


def ids(split: Split, numbers: np.ndarray) -> str:
    return "".join(sorted(split.catalogue.vocabulary.ids_of(numbers)))


def told(split: Split, requests: SurfaceRequests) -> set[tuple[str, str, str, str]]:
    """(user, history, source items, relevant items) of each request."""
    return {
        (
            query.user_id,
            "".join(split.catalogue.vocabulary.ids_of(query.history.item_nums)),
            ids(split, query.source_items),
            ids(split, relevant),
        )
        for query, relevant in zip(requests.queries, requests.relevant, strict=True)
    }


def test_home_asks_for_the_next_item_and_similar_for_that_beside_the_last_one() -> None:
    split = split_of()
    home = builder(split).build("home")
    assert told(split, home) == {
        ("u", "ab", "", "c"),
        ("u", "abc", "", "d"),
        ("u", "abcd", "", "e"),
        ("u", "abcdea", "", "f"),
        ("x", "", "", "a"),
    }
    assert home.possible == 5
    similar = builder(split).build("similar")
    assert told(split, similar) == {
        ("u", "ab", "b", "c"),
        ("u", "abc", "c", "d"),
        ("u", "abcd", "d", "e"),
        ("u", "abcdea", "a", "f"),
    }
    # Nothing but the item itself is left out: `similar` does not filter what was seen.
    assert {ids(split, query.exclude) for query in similar.queries} == {"b", "c", "d", "a"}


def test_a_cart_is_half_of_a_basket_and_the_rest_of_it_is_relevant() -> None:
    split = split_of()
    requests = builder(split).build("cart")
    assert requests.possible == 2
    rows = {row[1]: row for row in told(split, requests)}
    _, _, part, rest = rows["ab"]
    assert (len(part), sorted(part + rest)) == (1, ["c", "d", "e"])
    # Of the second basket, a was chosen before, and a cart leaves out what was seen.
    if "abcde" in rows:
        assert rows["abcde"] == ("u", "abcde", "a", "f")
    for query in requests.queries:
        seen = set(ids(split, query.history.item_nums)) | set(ids(split, query.source_items))
        assert set(ids(split, query.exclude)) == seen


def test_thank_you_is_a_whole_basket_and_the_next_one_is_relevant() -> None:
    split = split_of()
    requests = builder(split).build("thank_you")
    assert told(split, requests) == {
        ("u", "ab", "b", "cde"),  # before the first basket after the cut came that of b
        ("u", "abcde", "cde", "f"),
    }


def test_baskets_are_made_of_purchases_if_the_log_has_any() -> None:
    assert basket_actions(["click", "add_to_cart", "purchase"]) == ("purchase",)
    assert basket_actions(["click", "add_to_cart"]) == ("add_to_cart",)
    assert basket_actions(["click", "rate"]) == ()
    dataset = dataset_of([*PAST, *FUTURE])
    bought = [item in "ce" for item in "".join(row[1] for row in sorted(
        [*PAST, *FUTURE], key=lambda row: row[2]))]  # fmt: skip
    events = replace(dataset.events, actions=np.array(bought, np.int16))
    acted = replace(dataset, events=events, action_names=("click", "purchase"))
    split = temporal(acted, 0.4)
    read = read_baskets(split, split.targets)
    assert [ids(split, basket.items) for _, basket in read] == ["ce"]


def test_a_message_goes_once_to_each_user_and_their_next_choices_are_relevant() -> None:
    split = split_of()
    requests = builder(split).build("digest")
    assert sorted(requests.users.tolist()) == ["u", "x"]
    assert requests.possible == 2
    following = {"ab": "acdef", "abc": "adef", "abcd": "aef", "abcdea": "f", "": "a"}
    for _, history, _, relevant in told(split, requests):
        assert relevant == following[history]
    assert [items.tolist() for items in requests.afterwards] == [
        items.tolist() for items in requests.relevant
    ]


def logged(count: int) -> list[LoggedRequest]:
    return [
        LoggedRequest(
            "u", 15 * HOUR + number, 15 * HOUR + number, "search", text, np.empty(0, np.int32),
            np.array([3], np.int32), np.array([True]),
        )
        for number, text in enumerate(["serach"] + ["shoes"] * (count - 1))
    ]  # fmt: skip


def test_search_is_asked_with_logged_texts_corrected_and_encoded() -> None:
    split = replace(split_of(), requests=logged(request_builder.MIN_LOGGED))
    requests = builder(split, limit=60).build("search")
    assert "logged" in requests.question
    assert len(requests) == requests.possible == request_builder.MIN_LOGGED
    corrected = next(query for query in requests.queries if query.text == "serach")
    assert (corrected.searched, corrected.text_vector.tolist()) == ("search", [6.0, 1.0])
    assert {ids(split, query.history.item_nums) for query in requests.queries} == {"abcde"}
    assert all(items.tolist() == [3] for items in requests.relevant)


def test_with_few_logged_searches_queries_are_written_and_said_to_be() -> None:
    split = replace(split_of(), requests=logged(request_builder.MIN_LOGGED - 1))
    titled = replace(
        split,
        catalogue=type(split.catalogue)(
            [replace(item, title=f"The {item.item_id} tale") for item in split.catalogue.items]
        ),
    )
    requests = builder(titled).build("search")
    assert "written" in requests.question
    assert len(requests) == 5  # one for every target
    for query, relevant in zip(requests.queries, requests.relevant, strict=True):
        title = titled.catalogue[int(relevant[0])].title
        assert query.text != title
        assert query.text
    texts = [query.text for query in builder(titled).build("search").queries]
    assert texts == [query.text for query in requests.queries]


def test_items_that_a_surface_never_shows_are_not_relevant_to_it() -> None:
    shelf = {"shelf": {"task": "home", "filters": ["genre=x"]}}
    settings = Settings.model_validate({"surfaces": shelf})
    split = split_of()
    genres = {"c": "x", "d": "y", "e": "x"}
    some = [
        replace(item, attributes={"genre": genres.get(item.item_id, "z")})
        for item in split.catalogue.items
    ]
    shown = builder(replace(split, catalogue=type(split.catalogue)(some)), settings=settings).build(
        "shelf"
    )
    assert {ids(split, items) for items in shown.relevant} == {"c", "e"}


def test_kinds_of_items_and_users() -> None:
    split = split_of()
    items = {name: ids(split, np.flatnonzero(mask)) for name, mask in kinds_of_items(split).items()}
    assert (items["warm items"], items["cold items"]) == ("abc", "def")
    assert items["tail items"] == "abcdef"  # a fifth of three items is none
    home = builder(split).build_next_items("home")
    assert kinds_of_users(split, home.queries, {"u": "KR", "x": "NZ"}) == {}  # two people
    known = next(query for query in home.queries if len(query.history) == 2)
    new = next(query for query in home.queries if query.user_id == "x")
    strangers = [replace(new, user_id=f"x{number}") for number in range(20)]
    kinds = kinds_of_users(split, [known, *strangers], {})
    assert {name: mask.tolist() for name, mask in kinds.items()} == {
        "cold users": 21 * [True],
        "new users": [False] + 20 * [True],
    }


def test_a_kind_or_country_of_few_people_is_no_slice_as_it_would_tell_about_them() -> None:
    past = [(f"p{n}", item, hour) for n in range(20) for hour, item in enumerate("abc")]
    rows = [*past, ("u", "a", 90.0)]
    split = temporal(dataset_of(rows), len(past) / len(rows))
    query = builder(split).build_next_items("home").queries[0]
    asked = [replace(query, user_id=f"p{number}") for number in range(20)]
    assert "heavy users" in kinds_of_users(split, asked, {})
    asked[-1] = replace(query, user_id="p0")  # 20 requests of 19 people
    assert "heavy users" not in kinds_of_users(split, asked, {})

    split = split_of()
    query = builder(split).build_next_items("home").queries[0]
    users = [f"k{number}" for number in range(20)] + 19 * ["z"] + [f"z{n}" for n in range(18)]
    countries = {user: "KR" if user[0] == "k" else "NZ" for user in users}
    queries = [replace(query, user_id=user) for user in users]
    kinds = kinds_of_users(split, queries, countries)
    assert [name for name in kinds if "country" in name] == ["country KR"]
    assert kinds["country KR"].tolist() == 20 * [True] + 37 * [False]
    countries["new"] = "NZ"
    kinds = kinds_of_users(split, [*queries, replace(query, user_id="new")], countries)
    assert list(kinds)[-2:] == ["country NZ", "country KR"]  # most requests first


def repeating(split: Split, **hours: float) -> Repeats:
    """Items that come again after some hours; the others never."""
    after = np.full(len(split.catalogue), np.inf, np.float32)
    for item, time in hours.items():
        after[split.catalogue.vocabulary.number(item)] = time * HOUR
    return Repeats(after=after)


def test_items_that_were_due_and_came_again_are_next_choices() -> None:
    rows = [*PAST, *FUTURE, ("w", "c", 50 * HOUR), ("u", "a", 51 * HOUR), ("v", "b", 52 * HOUR)]
    data = dataset_of(rows)
    split = temporal(data, len(PAST) / len(rows))

    def again(repeats: Repeats) -> set[tuple[str, str, float]]:
        choices = next_choices(data, split, repeats)
        items = split.catalogue.vocabulary.ids_of(choices.items)
        found = set(zip(choices.users, items, (choices.times / HOUR).tolist(), strict=True))
        first = split.targets
        names, hours = split.catalogue.vocabulary.ids_of(first.items), first.times / HOUR
        known = set(zip(first.users, names, hours.tolist(), strict=True))
        assert known <= found and len(choices) == len(found)
        return found - known

    # u chose a at 0, 20 and 51 hours, w chose c at 3 and 50.
    assert again(repeating(split, a=20)) == {("u", "a", 20.0), ("u", "a", 51.0)}
    assert again(repeating(split, a=20.5)) == {("u", "a", 51.0)}
    assert again(repeating(split, a=32, c=47)) == {("w", "c", 50.0)}
    for nothing in (Repeats(), Repeats.never(6), repeating(split, a=99, d=1)):
        assert next_choices(data, split, nothing) is split.targets


def test_surfaces_ask_for_items_that_come_again_beside_first_choices() -> None:
    data = dataset_of([*PAST, *FUTURE])
    split = split_of()
    repeats = repeating(split, a=9)
    choices = next_choices(data, split, repeats)
    asked = builder(split, choices=choices, repeats=repeats)
    home = asked.build("home")
    assert told(split, home) - told(split, builder(split).build("home")) == {
        ("u", "abcde", "", "a")
    }
    assert len(asked.build_next_items("home")) == len(home) == 6
    slices = find_slices(split, home.queries, home.relevant, {})
    assert [ids(split, items) for items in slices["repeats"] if len(items)] == ["a"]
    firsts = sorted(ids(split, items) for items in slices["first choices"] if len(items))
    assert firsts == ["a", "c", "d", "e", "f"]  # a was new to x
    for query in home.queries:  # due ones may be shown, all others of the past may not
        is_due = query.user_id == "u" and query.time <= 20 * HOUR  # just chosen after that
        assert ids(split, query.again) == ("a" if is_due else "")
        assert ids(split, query.exclude) == ids(
            split, np.setdiff1d(query.history.item_nums, query.again)
        )
    before = told(split, builder(split).build("thank_you"))
    assert told(split, asked.build("thank_you")) - before == {("u", "abcde", "cde", "af")}
    assert ("u", "abcde", "cde", "f") in before
    rest = {item for _, _, _, item in told(split, asked.build("cart"))}
    assert rest <= {"a", "f", "c", "d", "e", "cd", "ce", "de"} and rest & {"a", "f"}


@pytest.mark.parametrize("name", ["cart", "thank_you"])
def test_without_baskets_there_is_nothing_to_ask(name: str) -> None:
    split = split_of([*PAST, ("x", "a", 30 * HOUR), ("y", "b", 31 * HOUR)])
    assert len(builder(split).build(name)) == 0
