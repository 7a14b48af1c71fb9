"""Messages and sold places, against numbers worked out by hand."""

import numpy as np
import pytest
from surface_world import items, lists

from serendip.evaluate.special_surfaces import Sale, measure_auction, measure_messages


def test_messages_are_counted_where_they_are_sent():
    sent = {"engine": lists([0, 1, 2], [], [3, 4]), "popularity": lists([9, 8], [9, 8], [9, 8])}
    chosen = [items(0, 2, 7), items(9), items(5)]
    figures = measure_messages(sent, chosen, resamples=50)
    engine, everybody = figures["engine"], figures["popularity"]
    assert engine.sent.value == pytest.approx(2 / 3)
    assert engine.precision.value == pytest.approx((2 / 3 + 0) / 2)  # of the two that are sent
    assert engine.precision.n == 2
    assert engine.useful.value == pytest.approx(1 / 3)
    assert engine.items == 2.5
    assert everybody.sent.value == 1.0
    assert everybody.precision.value == pytest.approx((0 + 1 / 2 + 0) / 3)


def test_a_system_that_sends_nothing_has_no_precision():
    nothing = measure_messages({"engine": lists([], [])}, [items(0), items(1)], resamples=50)
    engine = nothing["engine"]
    assert (engine.sent.value, engine.precision.value, engine.items) == (0.0, None, None)


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
    figures = measure_auction(sale([(0, 1), (1, 1)], chosen), np.array([0, 0, 1]), resamples=50)
    assert figures.sold.value == pytest.approx((1 / 2 + 0) / 2)
    assert (figures.bid.value, figures.bid.n) == (2.0, 1)  # over users with a sale
    assert figures.expected.value == pytest.approx((0.5 + 0) / 2)
    # The sold item 1 is chosen after the first list, the sold item 3 not after the second.
    assert figures.earned.value == pytest.approx((2.0 / 2 + 0) / 2)
    assert figures.precision.value == pytest.approx(1 / 2)
    # Without a sale item 2 stands at place 1 of both; only the second user moment chose it.
    assert figures.organic_precision.value == pytest.approx(1 / 2)


def test_without_a_sale_nothing_is_relevant_or_earned():
    figures = measure_auction(sale([], [items(1)] * 3), np.array([0, 0, 1]), resamples=50)
    assert (figures.sold.value, figures.expected.value, figures.earned.value) == (0.0, 0.0, 0.0)
    assert figures.bid.value is None
    assert figures.precision.value is None
