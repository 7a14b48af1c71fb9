from dataclasses import replace

import numpy as np

from serendip.data import Catalogue, Dataset, EventLog, Item, Query, Vocabulary
from serendip.data.events.rejections import NegativeLog
from serendip.data.items.quality import (
    HALF_LIFE_DAYS,
    QUALITIES,
    UNKNOWN,
    QualityConfig,
    catalogue_prior,
    item_quality,
)
from serendip.jobs.train.fit import compute_like_shares
from serendip.models.popularity import Popularity, PopularityConfig

DAY = 86_400.0


def world(
    items: list[int], days: list[float], stars: list[float], available: dict[int, float]
) -> Dataset:
    catalogue = Catalogue(
        Item(f"i{n}", available_from=available[n] * DAY if n in available else None)
        for n in range(5)
    )
    values = np.array(stars, np.float32)
    log = EventLog(
        np.zeros(len(items), np.int32),
        np.array(items, np.int32),
        np.array(days) * DAY,
        values >= 4,
        values,
    )
    return Dataset(catalogue, Vocabulary(["u"]), log)


def column(quality: np.ndarray, name: str) -> list[float]:
    return quality[:, QUALITIES.index(name)].astype(np.float64).round(4).tolist()


def test_every_column_is_what_it_says() -> None:
    half = HALF_LIFE_DAYS
    quality = item_quality(
        world(
            items=[0, 1, 1, 2, 0, 1],
            days=[0, 0, 0, half, 2 * half, 2 * half],
            stars=[5, 1, 1, 3, 5, np.nan],
            available={2: 0.0, 4: 3 * half},
        )
    )
    # Item 0 is liked best; 2 stands between; 3 and 4 have nobody.
    assert column(quality, "rating") == [0.8333, 0.1667, 0.5, 0.5, 0.5]
    assert column(quality, "popularity") == [0.7925, 1.0, 0.5, 0.0, 0.0]
    assert column(quality, "freshness") == [0.25, 0.25, 0.25, 1.0, 1.0]
    assert quality.dtype == np.float32


def test_a_dislike_is_a_low_rating_and_no_like() -> None:
    plain = world([0, 1, 2], [0, 0, 0], [5, 5, 5], {})
    said_no = NegativeLog(
        np.array([-1, 0], np.int32),
        np.array([1, 1], np.int32),
        np.zeros(2),
        np.array([1, np.nan], np.float32),
        np.full(2, 2, np.int8),
        np.full(2, np.inf),
    )
    quality = item_quality(replace(plain, negatives=said_no))
    assert column(item_quality(plain), "rating")[:3] == [0.5, 0.5, 0.5]
    assert column(quality, "rating")[:3] == [0.6667, 0.1667, 0.6667]
    assert column(quality, "conversion")[:3] == [0.6667, 0.1667, 0.6667]
    assert column(quality, "popularity") == column(item_quality(plain), "popularity")


RATED = QualityConfig(rating="stars", reviews="reviews")


def catalogue_of(rows: list[tuple[float | None, float | None]]) -> Catalogue:
    """Items with a rating and a number of reviews, where these are known."""
    return Catalogue(
        Item(
            f"i{number}",
            attributes={
                name: value
                for name, value in (("stars", stars), ("reviews", reviews))
                if value is not None
            },
        )
        for number, (stars, reviews) in enumerate(rows)
    )


def test_items_without_events_have_the_ratings_of_the_catalogue() -> None:
    nobody = world([], [], [], {})
    rated = catalogue_of([(4.5, 90.0), (3.0, 40.0), (None, None), (4.0, 0.0), (0.0, 30.0)])
    quality = item_quality(replace(nobody, catalogue=rated), RATED)
    # Means among 0, 1 and 3; nobody has reviewed 3, and a rating of 0 is none.
    assert column(quality, "rating") == [0.8333, 0.1667, 0.5, 0.5, 0.5]
    logs = np.log1p([90, 40, 0, 0, 30]) / np.log1p(90)
    np.testing.assert_allclose(column(quality, "popularity"), logs, atol=1e-4)
    assert np.array_equal(item_quality(replace(nobody, catalogue=rated)), np.tile(UNKNOWN, (5, 1)))


def test_the_log_and_the_catalogue_count_by_their_numbers_of_ratings() -> None:
    liked = world([0, 0, 1, 1], [0, 0, 0, 0], [5, 5, 1, 1], {})
    alone = column(item_quality(liked), "rating")
    assert alone[:2] == [0.75, 0.25]
    contrary = catalogue_of([(1.0, 2.0), (5.0, 6.0), (3.0, 0.0), (None, None), (None, None)])
    both = column(item_quality(replace(liked, catalogue=contrary), RATED), "rating")
    # Shrunk means of the catalogue stand 0 < 2 < 1: ranks 1/6, 1/2, 5/6.
    assert both[0] == round(0.75 + 2 / 4 * (1 / 6 - 0.75), 4)
    assert both[1] == round(0.25 + 6 / 8 * (5 / 6 - 0.25), 4)
    assert both[2:] == [0.5, 0.5, 0.5]


def test_ratings_of_the_catalogue_go_on_counting_after_the_first_choices() -> None:
    stars = (2.0, 4.5, 3.0)
    items = [
        Item(f"{n}", attributes={"rating": star, "reviews": 900.0}) for n, star in enumerate(stars)
    ]
    one = np.zeros(1, np.int32)
    log = EventLog(one, one, np.ones(1), np.ones(1, np.bool_), np.full(1, np.nan, np.float32))
    dataset = Dataset(Catalogue(items), Vocabulary(["u"]), log)
    rated = dataset.with_quality(
        item_quality(dataset, QualityConfig(rating="rating", reviews="reviews"))
    )
    for window in (None, 7.0):
        scores = (
            Popularity(PopularityConfig(window_days=window))
            .train(rated)
            .score_all([Query("home")])[0]
        )
        assert scores[1] > scores[2], "of those that nobody chose the better one"
        assert (scores[1] > scores[0]) == (window is None), (
            "one choice is no more, unless it is new"
        )
    assert np.argsort(-compute_like_shares(rated)).tolist()[0] == 1
    assert not catalogue_prior(dataset.with_quality(item_quality(dataset))).any(), "no ratings"
