"""A second training keeps the space of vectors, or says why it does not."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from stand import NEW, train

from serendip.engine.artefacts.generations import rollback
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.state import EngineState
from serendip.engine.workspace import Workspace
from serendip.errors import UnsupportedError
from serendip.jobs.exports.embeddings import embed
from serendip.jobs.train.space import open_space, require_retriever
from serendip.models.embedding_space import MIN_AGREEMENT
from serendip.models.linalg import mean_cosine
from serendip.runtime.progress import TrainOptions


def set_retriever(shop: Path, old: str, new: str) -> None:
    path = shop / "serendip.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def told_vectors(generation: Path) -> dict[str, np.ndarray]:
    state = EngineState.open(generation)
    turned = open_space(generation).rotate(require_retriever(state).item_vectors)
    return dict(zip(state.catalogue.vocabulary.ids, turned, strict=True))


def test_the_first_generation_begins_a_space(stand: Path) -> None:
    told = json.loads((stand / "generations" / "gen-1" / "manifest.json").read_text())["space"]
    assert told["name"] == open_space(stand / "generations" / "gen-1").name
    assert told["version"] == 1
    assert (told["kept"], told["aligned_to"], told["agreement"]) == (False, "", {})
    assert told["reason"] == "there was no space before"


def test_the_next_training_puts_common_items_near_where_they_were(stand: Path) -> None:
    before = told_vectors(stand / "generations" / "gen-1")
    with closing(Workspace.open(stand).open_store()) as store:
        store.put_items([NEW])
    generation = train(stand, seed=7)
    told = generation.manifest["space"]
    assert (told["kept"], told["reason"], told["aligned_to"]) == (True, "", "gen-1")
    assert told["items"] == len(before)
    assert told["name"] == open_space(stand / "generations" / "gen-1").name
    after = told_vectors(generation.folder)
    assert set(after) == {*before, "new"}
    pair = [np.stack([vectors[name][:16] for name in before]) for vectors in (before, after)]
    own = require_retriever(EngineState.open(generation.folder)).item_vectors[: len(before), :16]
    nearness, unturned = mean_cosine(*pair), mean_cosine(pair[0], own)
    assert nearness is not None
    assert unturned is not None
    # Items that the turn was not fitted to are a little further away.
    assert nearness >= told["agreement"]["network"] >= MIN_AGREEMENT
    assert nearness > unturned
    assert train(stand).manifest["space"]["aligned_to"] == "gen-1"


def test_other_dimensions_begin_another_version_and_a_rollback_goes_back_to_the_first(
    stand: Path,
) -> None:
    first = open_space(stand / "generations" / "gen-1").name
    set_retriever(stand, "embedding_size = 16", "embedding_size = 8")
    told = train(stand).manifest["space"]
    assert (told["kept"], told["version"], told["aligned_to"]) == (False, 2, "")
    assert told["reason"].startswith("dimensions were 24 of network")
    assert told["name"] != first
    rollback(stand / "generations")
    set_retriever(stand, "embedding_size = 8", "embedding_size = 16")
    assert train(stand).manifest["space"]["name"] == first


def test_a_split_of_tasks_has_no_space_and_serves(stand: Path) -> None:
    with (stand / "serendip.toml").open("a") as stream:
        stream.write('\n[unified]\ngroups = [["home", "similar"], ["search"]]\n')
    generation = train(stand)
    assert generation.manifest["space"]["name"] == ""
    assert "separate retrievers" in generation.manifest["space"]["reason"]
    with closing(Engine.open(stand)) as engine:
        for surface in ("home", "search", "similar"):
            items = ["i3"] if surface == "similar" else []
            text = "horror" if surface == "search" else ""
            answer = engine.recommend(Request(surface, "u1", text=text, item_ids=items))
            assert answer.items
            assert not answer.degraded
    with pytest.raises(UnsupportedError, match="separate retrievers"):
        embed(stand, "items", None, TrainOptions())
    set_retriever(stand, 'groups = [["home", "similar"], ["search"]]', "")
    assert train(stand).manifest["space"]["version"] == 1
