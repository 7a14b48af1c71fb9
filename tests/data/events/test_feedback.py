import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.config import validate
from serendip.data import ActionRules, Event, EventColumns, UserPast, Vocabulary
from serendip.data.events.event import EXCLUSIONS
from serendip.data.events.feedback import Feedback, build_user_past
from serendip.errors import ConfigError

ITEMS = Vocabulary("abc")
STARS = ActionRules(dislike_at_most=2.0)
NEGATIVE = ("hide", "dislike", "skip", "return", "unsubscribe", "report")


def tabulate(events: list[Event]) -> EventColumns:
    return EventColumns.of_rows(
        [(one.user_id, one.item_id, one.timestamp, one.action, one.value, "", 0) for one in events]
    )


def stands(*rows: tuple[str, str] | tuple[str, str, float]) -> UserPast:
    """What stands of events of one user, one second apart: (item, action, value)."""
    columns = tabulate(
        [Event("u", row[0], float(n), row[1], *row[2:]) for n, row in enumerate(rows)]
    )
    feedback = Feedback.of(columns, STARS)
    return build_user_past(
        ITEMS.numbers(columns.item_ids), columns.timestamps, feedback, columns.sessions
    )


def items(past: UserPast) -> tuple[str, str]:
    chosen, rejected = past.history.item_nums, past.rejected.item_nums
    return "".join(ITEMS.ids_of(chosen)), "".join(ITEMS.ids_of(rejected))


@pytest.mark.parametrize("action", NEGATIVE)
@pytest.mark.parametrize("value", [None, 5.0])
def test_a_negative_action_is_no_interest_whatever_its_value(action, value):
    rules = ActionRules()
    assert not rules.is_interest(action, value)
    assert not rules.is_like(action, value)
    assert rules.exclusion(action, value) is not None


@pytest.mark.parametrize(
    ("rules", "action", "value", "interest"),
    [
        (ActionRules(), "rate", 0.5, True),
        (STARS, "rate", 2.0, False),
        (STARS, "rate", 2.5, True),
        (STARS, "rate", float("nan"), True),
        (STARS, "rate", None, True),
        (STARS, "purchase", 1.0, True),
        (STARS, "impression", 1.0, False),
    ],
)
def test_a_low_value_is_a_dislike_where_the_settings_say_up_to_which(
    rules, action, value, interest
):
    assert rules.is_interest(action, value) is interest
    is_dislike = action == "rate" and value == 2.0
    assert rules.exclusion(action, value) == ("recommendations" if is_dislike else None)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"always_like": ["hide"]}, "'hide' is in negative and in always_like"),
        ({"dislike_at_most": 4.0}, r"dislike_at_most \(4\) must be below like_at_least \(4\)"),
        ({"negative": {"hide": "often"}}, "everywhere"),
    ],
)
def test_rules_that_contradict_themselves_are_refused(table, words):
    with pytest.raises(ConfigError, match=words):
        validate(ActionRules, table, "serendip.toml")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["rate", "like", "click", "impression", *NEGATIVE]),
            st.none() | st.floats(0, 5),
        ),
        max_size=20,
    ),
    st.none() | st.floats(0, 3.5),
)
def test_columns_say_what_events_say(rows, most):
    events = [Event("u", "i", float(n), action, value) for n, (action, value) in enumerate(rows)]
    rules = ActionRules(dislike_at_most=most)
    found = Feedback.of(tabulate(events), rules)
    assert found.interest.tolist() == [rules.is_interest(*row) for row in rows]
    assert found.liked.tolist() == [rules.is_like(*row) for row in rows]
    assert found.takes_back.tolist() == [rules.takes_back(*row) for row in rows]
    assert found.rejects.tolist() == [rules.rejects(*row) for row in rows]
    said = [rules.exclusion(*row) for row in rows]
    codes = [-1 if one is None else EXCLUSIONS.index(one) for one in said]
    assert found.exclusions.tolist() == codes


@pytest.mark.parametrize("back", [("a", "like"), ("a", "purchase"), ("a", "rate", 3.0)])
def test_the_newest_word_counts(back):
    assert items(stands(("a", "click"), ("a", "hide"), back)) == ("aa", "")
    assert items(stands(("a", "click"), back, ("a", "hide"))) == ("", "a")
    assert items(stands(("b", "hide"), back)) == ("a", "b")


def test_what_reaches_furthest_counts_and_clicks_and_unknown_items_change_nothing():
    assert items(stands(("a", "dislike"), ("a", "click"), ("b", "click"))) == ("b", "a")
    assert items(stands(("a", "click"), ("a", "skip"))) == ("a", "")
    assert items(stands(("a", "skip"))) == ("", "")
    past = stands(("a", "hide"), ("a", "return"), ("b", "return"), ("c", "rate", 1.0))
    reach = {name: "".join(ITEMS.ids_of(past.rejected.reaching(name))) for name in EXCLUSIONS}
    assert reach == {"nowhere": "abc", "seen": "abc", "recommendations": "ac", "everywhere": "a"}
    past = stands(("?", "hide"), ("a", "click")).known(len(ITEMS))
    assert items(past) == ("a", "")
    assert np.array_equal(past.history.timestamps, [1.0])
