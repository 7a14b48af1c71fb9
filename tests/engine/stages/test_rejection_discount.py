import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from small_shop import add_settings

from serendip.data.events.event import EXCLUSIONS, Event
from serendip.data.events.rejections import MOST_UNWANTED, Rejected
from serendip.data.query import Query
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.stages.batch import Batch, Candidates
from serendip.engine.stages.likeness import discount_rejected, likeness_to_rejected
from serendip.engine.stages.pipeline import answer_queries

USER = "visitor"
SURFACES = [
    ("home", (), ""),
    ("next", ("i4",), ""),
    ("cart", ("i4",), ""),
    ("digest", (), ""),
    ("search", (), "horror tale"),
]


def rejecting(*items: int, reach: str = "everywhere") -> Rejected:
    codes = np.full(len(items), EXCLUSIONS.index(reach), np.int8)
    return Rejected.of(np.array(items, np.int32), codes)


def batch_of(engine: Engine, query: Query, discount: float = 0.5) -> tuple[Batch, Candidates]:
    surface = engine.settings.all_surfaces()["home"]
    surface = surface.model_copy(update={"rejection_discount": discount})
    count = engine.state.num_items
    rows = Candidates(np.zeros(count, np.int32), np.arange(count, dtype=np.int32))
    return Batch.of([query], surface, engine.state, []), rows


def test_likeness_is_1_for_the_item_itself_and_0_without_rejections(reader: Engine) -> None:
    likeness = likeness_to_rejected(*batch_of(reader, Query(rejected=rejecting(3))))
    assert likeness[3] == pytest.approx(1.0, abs=0.05)  # content has 8 bits per number
    assert ((likeness >= 0) & (likeness <= 1)).all()
    # Items 0, 3, 6, ... are horror, as the rejected one is.
    same = np.arange(reader.state.num_items) % 3 == 0
    assert likeness[same].mean() > 2 * likeness[~same].mean()
    assert not likeness_to_rejected(*batch_of(reader, Query())).any()


def test_the_discount_is_a_share_of_the_size_of_a_value(reader: Engine) -> None:
    batch, rows = batch_of(reader, Query(rejected=rejecting(3)), discount=0.25)
    likeness = likeness_to_rejected(batch, rows)
    for values in (np.linspace(1, 2, len(rows)), np.linspace(-2, -1, len(rows))):
        lowered = discount_rejected(batch, rows, values.astype(np.float32))
        np.testing.assert_allclose(lowered, values - 0.25 * likeness * abs(values), rtol=1e-5)
    nothing = np.ones(len(rows), np.float32)
    off, rows = batch_of(reader, Query(rejected=rejecting(3)), discount=0.0)
    assert discount_rejected(off, rows, nothing) is nothing


def test_the_newest_of_what_is_not_to_be_recommended_lowers_its_like(reader: Engine) -> None:
    returned = Query(rejected=rejecting(3, reach="seen"))
    assert not likeness_to_rejected(*batch_of(reader, returned)).any()
    disliked = Query(rejected=rejecting(3, reach="recommendations"))
    assert likeness_to_rejected(*batch_of(reader, disliked)).any()

    numbers = np.arange(100, dtype=np.int32)[::-1]
    rejected = rejecting(*numbers.tolist())
    assert rejected.unwanted.tolist() == list(range(MOST_UNWANTED))
    assert rejected.known(3).unwanted.tolist() == [0, 1, 2]


@pytest.fixture
def open_digest(shop: Path) -> Iterator[Engine]:
    """An engine whose messages have no minimum value."""
    add_settings(shop, "\n[surfaces.digest.min_value]\nthreshold = 0.0\n")
    with closing(Engine.open(shop)) as opened:
        yield opened


@pytest.mark.parametrize(("surface", "items", "text"), SURFACES)
def test_a_hidden_item_goes_and_its_like_goes_down(
    open_digest: Engine, surface: str, items: tuple[str, ...], text: str
) -> None:
    engine, request = open_digest, Request(surface, USER, text=text, item_ids=items, k=60)
    config = engine.settings.all_surfaces()[surface]

    def values() -> dict[int, float]:
        (result,) = answer_queries(engine.queries([request]), config, engine.state)
        return dict(zip(result.items.item_nums.tolist(), result.items.scores.tolist(), strict=True))

    before = values()
    hidden = max(before, key=lambda item: before[item])
    name = engine.state.catalogue.vocabulary.id(hidden)
    engine.add_events([Event(USER, name, time.time(), "hide")])
    after = values()
    assert hidden not in after
    assert name not in {item.item_id for item in engine.recommend(request).items}
    alike = [item for item in after if item % 3 == hidden % 3 and item in before]
    if surface == "search":  # a text finds what is alike as before
        assert config.rejection_discount == 0.0
        return
    if config.min_value is None:  # a message has few items
        assert sum(after[item] for item in alike) < sum(before[item] for item in alike)
    assert all(after[item] <= before[item] for item in after if item in before)
    engine.add_events([Event(USER, name, time.time(), "like")])
    assert len(engine.queries([request])[0].rejected.unwanted) == 0
