import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.data import Catalogue, History
from serendip.data.items.table import Item
from serendip.data.users.profile import ACTIVITY, NEWEST, PARTS, PreferenceTable, measure_activity

DAY = 86_400.0
NOW = 1_000 * DAY
FILMS = Catalogue(
    [
        Item("a", "A", "", {"genres": ("Drama", "War"), "studio": "North"}),
        Item("b", "B", "", {"genres": ("Drama",), "studio": "north"}),
        Item("c", "C", "", {"genres": ("War", "Comedy"), "year": 1999.0}),
        Item("d", "D", "", {"studio": "South"}),
    ]
)


def history(*days_ago: float, liked: tuple[int, ...] = ()) -> History:
    """Events on items 0, 1, ... so many days ago, oldest first."""
    count = len(days_ago)
    return History(
        np.arange(count, dtype=np.int32),
        NOW - DAY * np.array(days_ago, np.float64),
        np.isin(np.arange(count), liked),
    )


def activity(past: History) -> dict[str, float]:
    return dict(zip(ACTIVITY, measure_activity(past, NOW).tolist(), strict=True))


def test_recency_frequency_and_rhythm() -> None:
    minute = 1 / 1_440
    past = history(200, 80, 80 - 20 * minute, 80 - 51 * minute, 10, liked=(0,))
    assert activity(past) == pytest.approx(
        {
            "days since the last event": 10,
            "days since the first event": 200,
            "days per visit": 50,  # 200, 80, half an hour later, 10
            "visits": 4,
            "visits of 30 days": 1,
            "visits of 90 days": 3,
            "items": 5,
            "events": 5,
            "share of likes": 0.2,
        }
    )


def test_nobody_has_no_activity_and_no_preferences() -> None:
    table = PreferenceTable.of(FILMS)
    assert not measure_activity(History(), NOW).any()
    assert not table.shares(History()).any()


def test_values_of_one_attribute_share_an_item_the_commonest_first() -> None:
    assert PreferenceTable.of(FILMS).names == ("genres=drama", "genres=war", "studio=north")
    assert PreferenceTable.of(FILMS, 1).names == ("genres=drama",)

    table = PreferenceTable.of(FILMS)
    shares = table.shares(history(3, 2, 1, liked=(1,))).reshape(len(PARTS), -1)
    assert shares.tolist() == pytest.approx(
        np.array([[0.5, 0.5, 2 / 3], [1, 0, 1], [0.5, 0.5, 2 / 3]])
    )
    assert table.columns[3] == "liked: genres=drama"


@given(st.lists(st.integers(0, 3), max_size=30), st.data())
def test_shares_of_an_attribute_are_at_most_one(nums: list[int], data: st.DataObject) -> None:
    table = PreferenceTable.of(FILMS)
    liked = np.array([data.draw(st.booleans()) for _ in nums], np.bool_)
    past = History(np.array(nums, np.int32), np.zeros(len(nums)), liked)
    shares = table.shares(past).reshape(len(PARTS), -1)
    assert (shares >= 0).all()
    assert (shares[:, :2].sum(1) <= 1 + 1e-6).all()
    weights = np.array([0.5, 1, 0, 0])[nums[-NEWEST:]]  # of Drama
    assert shares[2, 0] == pytest.approx(weights.mean() if nums else 0, abs=1e-6)
