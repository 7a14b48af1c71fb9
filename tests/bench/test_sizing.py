import pytest

from serendip_bench.scripts.sizing import (
    EMPTY,
    GROWTH,
    L,
    Line,
    MachinePrices,
    S,
    Shop,
    Slopes,
    find_break_points,
    find_needs,
)

# As docs/results/scale.md has them: CPU-minutes and MB of a training, CPU-seconds of an import,
# CPU-milliseconds of a request. The text there states the errors that are allowed here.
_HASHED_TEXT_S = 110 / 1e6  # by item: shop L
_TRAININGS = {S: (19.5, 21.1), GROWTH: (15.7,)}
_MEMORY = {S: 2_348, L: 9_361, GROWTH: 1_951, Shop(1e4, 1e5): 1_334, Shop(1e4, 1e6): 1_673}
_REQUESTS = {S: 7.5, L: 18.0, GROWTH: 7.6}


def _find(shop: Shop) -> dict[str, float]:
    return find_needs(shop, 1, Slopes(), MachinePrices())


@pytest.mark.parametrize("shop", [S, GROWTH])
def test_trainings_come_out_within_ten_percent(shop: Shop) -> None:
    needs = _find(shop)
    texts = needs["text_h"] * 60 if shop == S else _HASHED_TEXT_S * shop.items / 60
    found = needs["training_h"] * 60 + texts
    for measured in _TRAININGS[shop]:
        assert found == pytest.approx(measured, rel=0.1)


@pytest.mark.parametrize("shop", _MEMORY)
def test_memory_comes_out_within_ten_percent(shop: Shop) -> None:
    found = _find(shop)["training_gib"] * 2**30 / 1e6
    assert found == pytest.approx(_MEMORY[shop], rel=0.1)


@pytest.mark.parametrize("shop", _REQUESTS)
def test_requests_come_out_within_ten_percent(shop: Shop) -> None:
    assert _find(shop)["request_ms"] == pytest.approx(_REQUESTS[shop], rel=0.1)


def test_a_line_goes_through_its_shops() -> None:
    line = Line.through({EMPTY: 1.0, S: 5.4, L: 38.4})
    found = [line.at(shop) for shop in (EMPTY, S, L)]
    assert found == pytest.approx([1.0, 5.4, 38.4])
    exact = Line(2.0, 3e-5, 7e-7)
    again = Line.through({shop: exact.at(shop) for shop in (GROWTH, S, L)})
    assert (again.fixed, again.item, again.event) == pytest.approx((2.0, 3e-5, 7e-7))
    by_item = Line.through({S: 3.0, L: 12.0})
    assert (by_item.fixed, by_item.item, by_item.event) == pytest.approx((2.0, 1e-5, 0.0))


_SLOPES = Slopes(
    import_s=Line(0.0, 3.6, 0.36),
    log_bytes=1.0,
    database_bytes=1.0,
    generation_bytes=Line(10.0, 1.0, 0.0),
    text_s=Line(0.0, 36.0, 0.0),
    stages_s=Line(360.0, 36.0, 0.0),
    passes_s=Line(0.0, 0.0, 7.2),
    clock=1.5,
    training_bytes=Line(2.0**30, 2.0**29, 0.04 * 2**30),
    request_s=Line(0.01, 0.001, 0.0),
    write_s=0.1,
)


def test_the_arithmetic_of_a_shop_and_where_it_breaks() -> None:
    prices = MachinePrices(core_hour=2.0, gib_hour=0.5, used=0.25, events_per_request=3.0)
    assert find_needs(Shop(10, 100), 50, _SLOPES, prices) == dict(
        import_h=pytest.approx(0.02),
        text_h=pytest.approx(0.1),
        training_h=pytest.approx(0.4),
        clock_h=pytest.approx(0.75),
        training_gib=pytest.approx(10),
        disk_gib=pytest.approx(130 / 2**30),
        request_ms=pytest.approx(20),
        serving_cores=pytest.approx(4),
        writing_cores=pytest.approx(60),
        training_price=pytest.approx(0.75 * (4 + 1)),
        serving_price=pytest.approx(128),
    )

    assert find_break_points(10.0, _SLOPES) == dict(
        request=pytest.approx(90),
        memory=pytest.approx(63 / 0.9),
        training=pytest.approx((57_600 - 360) / 144),
    )
