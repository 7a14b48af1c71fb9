from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serendip.data.items.catalogue import Item
from serendip.engine.engine import Engine

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["post", "delete", "read"]),
        st.sampled_from([0, 1]),  # the engine
        st.lists(st.integers(0, 5), min_size=1, max_size=3),  # items
    ),
    max_size=12,
)


def facts(engine: Engine) -> list[tuple[str, str, bool]]:
    state = engine.state
    hidden = state.hidden.tolist()
    return [(i.item_id, i.title, h) for i, h in zip(state.catalogue.items, hidden, strict=True)]


@pytest.fixture
def engines(stand: Path) -> Iterator[tuple[Engine, Engine]]:
    with closing(Engine.open(stand)) as one, closing(Engine.open(stand)) as other:
        yield one, other


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_numbers_agree_with_every_order_of_writes_and_readings(
    engines: tuple[Engine, Engine], stand: Path, data: st.DataObject
) -> None:
    prefix = f"{len(engines[0].state.catalogue)}-{engines[0].item_version}"
    texts = count()
    for step, which, numbers in data.draw(STEPS):
        engine, names = engines[which], [f"{prefix}-{number}" for number in numbers]
        if step == "post":
            engine.add_items([Item(name, f"Tale {next(texts)}") for name in names])
        elif step == "delete":
            engine.delete_item(names[0])
        else:
            engine.catch_up()
    for engine in engines:
        engine.catch_up()
    with closing(Engine.open(stand)) as opened:
        everything = [facts(engine) for engine in (*engines, opened)]
        # An engine may know a deleted item by the words that it had before its last change.
        shown = [[(i, "" if hidden else title) for i, title, hidden in f] for f in everything]
        assert shown[0] == shown[1] == shown[2]
        assert engines[0].item_version == engines[1].item_version == opened.item_version
