from math import log2

import numpy as np
import pytest
from surface_world import items, lists, surface

from serendip.evaluate.special_surfaces import Sale, measure_auction, measure_messages
from serendip.evaluate.surface_quality import ALL, measure_surface, value_lists

FIRST = (1 + 1 / log2(4)) / (1 + 1 / log2(3))
"""nDCG of the first request: relevant at ranks 1 and 3 of 2 relevant ones."""


def value_of(figures, system, metric):
    return figures.systems[system][metric].value


def test_values_are_means_per_user_then_over_users():
    values = value_lists(surface().lists["engine"], surface().parts[ALL])
    assert values[:, 0] == pytest.approx([FIRST, 0.0, 1 / log2(3)])  # nDCG@10
    assert values[:, 1] == pytest.approx([1.0, 0.0, 1.0])  # Recall@10
    assert values[:, 2] == pytest.approx([1.0, 0.0, 0.5])  # MRR@10

    figures = measure_surface(surface())
    assert (figures.n_users, figures.n_requests, figures.possible) == (2, 3, 12)
    assert figures.catalogue_size == 5
    assert value_of(figures, "engine", "Recall@10") == pytest.approx((0.5 + 1.0) / 2)
    assert value_of(figures, "engine", "nDCG@10") == pytest.approx((FIRST / 2 + 1 / log2(3)) / 2)
    # Popularity finds 0 of the two relevant items of the first request and nothing else.
    assert value_of(figures, "popularity", "Recall@10") == pytest.approx((0.5 / 2 + 0.0) / 2)


def test_a_slice_of_items_counts_only_those_items_as_relevant():
    figures = measure_surface(surface())
    cold = figures.slices["cold items"]
    assert (cold.n_users, cold.n_requests) == (2, 2)
    # Item 3 at rank 3 for a, item 4 at rank 2 for b; the found item 0 does not count.
    engine = cold.systems["engine"]
    assert engine["nDCG@10"].value == pytest.approx((1 / log2(4) + 1 / log2(3)) / 2)
    assert engine["MRR@10"].value == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert cold.systems["popularity"]["Recall@10"].value == 0


def test_places_lift_coverage_and_gini_are_of_the_whole_catalogue():
    figures = measure_surface(surface())
    # a: 1 of 3 places (the empty list says nothing), b: 1 of 2.
    assert value_of(figures, "engine", "NewItems@10") == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert value_of(figures, "popularity", "NewItems@10") == 0.0

    figures = measure_surface(surface())
    # Only a has a history, of mean popularity 3; shown are (10 + 4 + 0) / 3 and (10 + 4) / 2.
    assert value_of(figures, "engine", "PopularityLift@10") == pytest.approx(14 / 3 / 3 - 1)
    assert value_of(figures, "popularity", "PopularityLift@10") == pytest.approx(7 / 3 - 1)
    nobody = [items(), items(), items()]
    without = measure_surface(surface(histories=nobody))
    assert value_of(without, "engine", "PopularityLift@10") is None
    figures = measure_surface(surface())
    assert value_of(figures, "engine", "Coverage@10") == pytest.approx(4 / 5)
    assert value_of(figures, "popularity", "Gini@10") == pytest.approx(3 / 5)


def test_the_subject_is_compared_in_pairs_with_every_baseline():
    figures = measure_surface(surface())
    assert [(row.baseline, row.metric) for row in figures.comparisons] == [
        ("popularity", "nDCG@10"),
        ("popularity", "Recall@10"),
    ]
    recall = figures.comparisons[1]
    assert recall.difference == pytest.approx(0.75 - 0.125)
    assert recall.verdict == "too small to tell"  # two users


def test_messages_are_counted_where_they_are_sent():
    sent = {"engine": lists([0, 1, 2], [], [3, 4]), "popularity": lists([9, 8], [9, 8], [9, 8])}
    chosen = [items(0, 2, 7), items(9), items(5)]
    engine, everybody = (measure_messages(lists, chosen) for lists in sent.values())
    assert engine.sent.value == pytest.approx(2 / 3)
    assert engine.precision.value == pytest.approx((2 / 3 + 0) / 2)  # of the two that are sent
    assert engine.precision.n == 2
    assert engine.useful.value == pytest.approx(1 / 3)
    assert engine.items == 2.5
    assert everybody.sent.value == 1.0
    assert everybody.precision.value == pytest.approx((0 + 1 / 2 + 0) / 3)


def sale(sold, chosen):
    is_sold = np.zeros((3, 10), np.bool_)
    for row, column in sold:
        is_sold[row, column] = True
    return Sale(
        items=lists([0, 1, 2], [0, 3, 2], [0, 1, 2]),
        is_sold=is_sold,
        bids=np.where(is_sold, 2.0, 99.0).astype(np.float32),
        revenue=np.where(is_sold, 0.5, 99.0).astype(np.float32),
        organic=lists([0, 2, 5], [0, 2, 5], [0, 2, 5]),
        for_sale=2,
        chosen=chosen,
    )


def test_value_and_relevance_of_sold_places_per_user():
    # Users 0 (two lists) and 1 (one). Sold: place 1 of the first two lists; nothing of the third.
    chosen = [items(1), items(2), items(0)]
    figures = measure_auction(sale([(0, 1), (1, 1)], chosen), np.array([0, 0, 1]))
    assert figures["sold"].value == pytest.approx((1 / 2 + 0) / 2)
    assert (figures["bid"].value, figures["bid"].n) == (2.0, 1)  # over users with a sale
    assert figures["expected"].value == pytest.approx((0.5 + 0) / 2)
    # The sold item 1 is chosen after the first list, the sold item 3 not after the second.
    assert figures["earned"].value == pytest.approx((2.0 / 2 + 0) / 2)
    assert figures["precision"].value == pytest.approx(1 / 2)
    # Without a sale item 2 stands at place 1 of both; only the second user moment chose it.
    assert figures["organic_precision"].value == pytest.approx(1 / 2)
