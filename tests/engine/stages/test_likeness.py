from dataclasses import replace

import numpy as np

from serendip.data import Event, FloatArray, Query
from serendip.data.items.reception import Reception
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.stages.batch import Batch, Candidates
from serendip.engine.stages.likeness import (
    CHOICE_SHARE,
    QUALITY_WEIGHT,
    floor_of,
    is_by_likeness,
    keep_alike,
    order_by_likeness,
)
from serendip.engine.stages.surfaces import DEFAULT_SURFACES
from serendip.engine.state import EngineState


def batch_of(state: EngineState, source: int = 4) -> tuple[Batch, Candidates]:
    query = Query("similar", source_items=np.array([source], np.int32))
    items = np.delete(np.arange(state.num_items, dtype=np.int32), source)
    rows = Candidates(np.zeros(len(items), np.int32), items)
    return Batch.of([query], DEFAULT_SURFACES["similar"], state, []), rows


def likeness_of(batch: Batch, candidates: Candidates) -> FloatArray:
    return batch.scores("content").of_items(candidates.rows, candidates.items)


def test_what_is_above_the_floor_stays_and_at_least_the_ten_most_alike(reader: Engine) -> None:
    batch, candidates = batch_of(reader.state)
    likeness, kept = likeness_of(batch, candidates), keep_alike(batch, candidates)
    alike = candidates.items[likeness > floor_of(reader.state)]
    assert set(alike) <= set(kept.items)
    assert len(kept) >= 10
    least = likeness[np.isin(candidates.items, kept.items)].min()
    assert least >= likeness[~np.isin(candidates.items, kept.items)].max()
    named = [np.array([candidates.items[likeness.argmin()]], np.int32)]
    assert set(keep_alike(batch, candidates, named).items) == {*kept.items, *named[0]}


def test_the_order_is_a_share_of_likeness_and_of_the_value(reader: Engine) -> None:
    batch, candidates = batch_of(reader.state)
    values = np.linspace(5.0, 6.0, len(candidates), dtype=np.float32)
    ordered = order_by_likeness(batch, candidates, values)
    floor, likeness = floor_of(reader.state), likeness_of(batch, candidates)
    counts = reader.state.counts[candidates.items].astype(np.float32)
    assert counts.min() > 0, "none is new"
    alike = np.maximum(likeness - floor, 0) * (counts + 1) / (counts + 6)
    alike /= alike.max()
    chosen = np.minimum((values - 5.0) / (values[-5] - 5.0), 1.0)
    expected = (1 - CHOICE_SHARE) * alike + CHOICE_SHARE * chosen
    expected += QUALITY_WEIGHT * reader.state.quality[candidates.items]
    np.testing.assert_allclose(ordered, expected, atol=1e-5)


def test_of_items_that_are_as_much_alike_what_hardly_anybody_chose_comes_later(
    reader: Engine,
) -> None:
    batch, candidates = batch_of(reader.state)
    best = int(candidates.items[likeness_of(batch, candidates).argmax()])
    counts = np.full(reader.state.num_items, 9, np.int32)
    counts[best] = 1
    values = np.zeros(len(candidates), np.float32)
    alike = replace(reader.state, quality=np.zeros_like(reader.state.quality))
    orders = [
        order_by_likeness(batch_of(replace(alike, counts=some))[0], candidates, values)
        for some in (counts, np.full_like(counts, 9))
    ]
    at = np.flatnonzero(candidates.items == best)[0]
    assert orders[0][at] < orders[1][at] == orders[1].max()


def test_everybody_sees_the_same_items_like_one(engine: Engine) -> None:
    lists = [
        [item.item_id for item in engine.similar("i4", user_id=user).items]
        for user in ("", "u0", "u7")
    ]
    assert lists[0] == lists[1] == lists[2]
    hidden = lists[0][0]
    engine.add_events([Event("u7", hidden, 1.8e9, "hide")])
    left = [item.item_id for item in engine.similar("i4", user_id="u7").items]
    assert set(lists[0]) - set(left) == {hidden}
    # Of the shop, every third item has the genre of item 4.
    assert np.mean([int(item[1:]) % 3 == 1 for item in lists[0]]) >= 0.8


def test_a_surface_is_ordered_by_likeness_and_says_so_of_what_is_not_alike(reader: Engine) -> None:
    batch, candidates = batch_of(reader.state)
    least = int(candidates.items[likeness_of(batch, candidates).argmin()])
    absent = reader.explain(Request("similar", item_ids=("i4",)), f"i{least}").absence
    assert absent.stage == "likeness"
    assert "no more like" in absent.text

    state = reader.state
    assert is_by_likeness(DEFAULT_SURFACES["similar"], state)
    assert not is_by_likeness(DEFAULT_SURFACES["next"], state)
    models = {name: model for name, model in state.models.items() if name != "content"}
    without = replace(state, models=models)
    assert not is_by_likeness(DEFAULT_SURFACES["similar"], without)
    assert floor_of(without) == 0.0


def test_what_most_people_rejected_is_no_item_like_another(engine: Engine) -> None:
    batch, candidates = batch_of(engine.state)
    kept = keep_alike(batch, candidates).items
    rejections = np.zeros(engine.state.num_items, np.int32)
    rejections[kept[:2]] = engine.state.counts[kept[:2]] + 1
    state = replace(engine.state, reception=Reception(np.zeros_like(rejections), rejections))
    batch, candidates = batch_of(state)
    assert not set(kept[:2]) & set(keep_alike(batch, candidates).items)
    few = Candidates(candidates.rows[:4], kept[:4])
    assert set(keep_alike(batch, few).items) == set(kept[:4])
