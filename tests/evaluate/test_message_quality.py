"""Messages, against numbers worked out by hand."""

import pytest
from surface_world import items, lists

from serendip.evaluate.message_quality import measure_messages


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
