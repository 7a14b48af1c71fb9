from contextlib import closing
from pathlib import Path

import pytest
from small_shop import add_settings

from serendip.data import Event, Item
from serendip.data.snapshot import take_snapshot
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.workspace import Workspace
from serendip.evaluate.new_items import measure_exploration


def test_the_propensities_of_answers_come_back_as_the_estimate(shop: Path) -> None:
    add_settings(shop, "\n[surfaces.home.exploration]\nshare = 0.5\nmin_taste = -9\n")
    weights: list[float] = []
    gain = 0.0
    with closing(Engine.open(shop)) as engine:
        engine.add_items([Item(f"new{n}", f"A new thing {n}") for n in range(8)])
        for user in ("u1", "u2", "u3", "u4"):
            answer = engine.recommend(Request("home", user_id=user, k=6))
            for position, item in enumerate(answer.items):
                drawn = item.parts.get("propensity")
                assert (drawn is None) == ("explored" not in item.parts)
                shown = Event(
                    *(user, item.item_id, 1e9 + position, "impression"),
                    request_id=answer.request_id,
                    position=position,
                    propensity=drawn,
                )
                engine.add_events([shown])
                if drawn is not None:
                    weights.append(1 / drawn)
                if drawn is not None and position == 1:
                    gain += 1 / drawn
                    engine.add_events(
                        [Event(user, item.item_id, 1e9 + 9, request_id=answer.request_id)]
                    )
    workspace = Workspace.open(shop)
    assert len(weights) > 4 and 0 < gain < sum(weights)
    with closing(workspace.open_store()) as store:
        for _ in range(2):  # from the tail, then from a segment
            requests = take_snapshot(store, workspace.settings.actions).requests
            found = measure_exploration(requests, most_weight=1e9)
            assert found.impressions == len(weights)
            assert found.rate.value == pytest.approx(gain / sum(weights), rel=1e-6)
            store.pack()
