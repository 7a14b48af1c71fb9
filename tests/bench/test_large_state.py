"""A state of any size without training answers like one that was trained."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip_bench.large_state import write_workspace


def test_a_large_state_opens_and_answers_every_kind_of_request(tmp_path: Path) -> None:
    write_workspace(tmp_path, 300)
    with closing(Engine.open(tmp_path)) as engine:
        assert engine.state.num_items == 300
        title = engine.state.catalogue[7].title
        requests = {
            "home": Request("home", k=5),
            "similar": Request("similar", item_ids=("sku-00000007",), k=5),
            "search": Request("search", text=title, k=5),
        }
        answers = {name: engine.recommend(request) for name, request in requests.items()}
        assert {name: len(answer.items) for name, answer in answers.items()} == dict.fromkeys(
            requests, 5
        )
        assert answers["search"].items[0].item_id == "sku-00000007"
