"""Training keeps codes: those of the built IDs, or the numbers of the generation before."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from stand import NEW, train

from serendip.data.items.catalogue import Item
from serendip.engine.state import EngineState
from serendip.engine.workspace import Workspace


def put(shop: Path, item: Item) -> None:
    with closing(Workspace.open(shop).open_store()) as store:
        store.put_items([item])


def set_semantic_ids(shop: Path, line: str) -> None:
    path = shop / "serendip.toml"
    path.write_text(path.read_text() + f"\n[semantic_ids]\n{line}\n")


def test_a_generation_keeps_the_codes_of_the_one_before(stand: Path) -> None:
    before = EngineState.open(stand / "generations" / "gen-1")
    put(stand, NEW)
    trained = train(stand, seed=7)
    facts = trained.manifest["semantic_ids"]
    after = EngineState.open(trained.folder)
    kept = after.features.codes[: before.num_items] == before.features.codes
    assert facts["kept"][:-1] == pytest.approx(kept.mean(0).tolist())
    assert facts["kept"][0] > 0.9
    np.testing.assert_array_equal(
        after.codebooks.assign(np.asarray(after.features.content)), after.features.codes
    )


def test_other_settings_start_afresh(stand: Path) -> None:
    set_semantic_ids(stand, "num_levels = 2")
    assert train(stand).manifest["semantic_ids"]["kept"] == []


def test_codes_that_are_kept_stay_as_long_as_the_content_does(stand: Path) -> None:
    before = EngineState.open(stand / "generations" / "gen-1")
    set_semantic_ids(stand, "keep = true")
    put(stand, NEW)
    put(stand, Item("i0", "The comedy tale number 1", "", {"genre": "comedy"}))
    after = EngineState.open(train(stand, seed=7).folder)
    assert "new" in after.catalogue.vocabulary
    same = np.flatnonzero(before.catalogue.vocabulary.numbers(after.catalogue.vocabulary.ids) >= 0)
    same = [row for row in same.tolist() if after.catalogue.vocabulary.id(row) != "i0"]
    rows = before.catalogue.vocabulary.numbers([after.catalogue.vocabulary.id(r) for r in same])
    np.testing.assert_array_equal(after.features.codes[same], before.features.codes[rows])
    np.testing.assert_array_equal(after.codebooks.centroids, before.codebooks.centroids)
    changed, twin = (after.catalogue.vocabulary.number(name) for name in ("i0", "i1"))
    np.testing.assert_array_equal(after.features.codes[changed], after.features.codes[twin])
