"""Lines through what was measured."""

from __future__ import annotations

import pytest

from serendip_bench.sizing import L, Line, MachinePrices, Needs, S, Shop, Slopes, find_needs


def test_a_line_goes_through_both_shops() -> None:
    line = Line.through(5.4, 38.4, 1.0)
    assert line.at(S) == pytest.approx(5.4) and line.at(L) == pytest.approx(38.4)
    exact = Line(2.0, 3e-5, 7e-7)
    found = Line.through(exact.at(S), exact.at(L), 2.0)
    assert (found.item, found.event) == pytest.approx((3e-5, 7e-7))


def test_the_arithmetic_of_a_shop() -> None:
    slopes = Slopes(
        import_s=Line(0.0, 3.6, 0.36),
        log_bytes=1.0,
        database_bytes=1.0,
        generation_bytes=2.0,
        text_s=36.0,
        item_stages_s=36.0,
        retriever_s=7.2,
        training_bytes=2.0**30,
        request_s=(0.01, 0.001),
        write_s=0.1,
    )
    prices = MachinePrices(core_hour=2.0, gib_hour=0.5, used=0.25, events_per_request=3.0)
    assert find_needs(Shop(10, 100), 50, slopes, prices) == Needs(
        import_h=pytest.approx(0.02),
        text_h=pytest.approx(0.1),
        training_h=pytest.approx(0.3),
        training_gib=pytest.approx(10),
        disk_gib=pytest.approx(130 / 2**30),
        request_ms=pytest.approx(20),
        serving_cores=pytest.approx(4),
        writing_cores=pytest.approx(60),
        training_price=pytest.approx(0.2 + 0.15 * (4 + 1)),
        serving_price=pytest.approx(128),
    )
