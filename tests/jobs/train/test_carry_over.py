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
from serendip.errors import ConfigError
from serendip.jobs.context import JobContext
from serendip.jobs.semantic_ids.build import build_ids, select_codes
from serendip.jobs.semantic_ids.versions import require_current
from serendip.runtime.progress import TrainOptions


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
    assert facts["version"] is None
    assert facts["kept"][:-1] == pytest.approx(kept.mean(0).tolist())
    assert facts["kept"][0] > 0.9
    np.testing.assert_array_equal(
        after.codebooks.assign(np.asarray(after.features.content)), after.features.codes
    )


def test_other_settings_start_afresh(stand: Path) -> None:
    set_semantic_ids(stand, "num_levels = 2")
    assert train(stand).manifest["semantic_ids"]["kept"] == []


def test_built_ids_are_extended_and_used_as_they_are(stand: Path) -> None:
    workspace = Workspace.open(stand)
    built, _ = build_ids(JobContext(workspace, TrainOptions(seed=11)))
    put(stand, NEW)
    trained = train(stand)
    version = require_current(workspace.semantic_ids)
    assert (built.name, version.name) == ("v1", "v2")
    assert trained.manifest["semantic_ids"]["version"] == "v2"
    state = EngineState.open(trained.folder)
    assert "new" in state.catalogue.vocabulary
    np.testing.assert_array_equal(
        state.features.codes, select_codes(version.items, state.catalogue)
    )
    np.testing.assert_array_equal(state.codebooks.centroids, built.codebooks.centroids)


def test_built_ids_of_other_settings_stop_the_training(stand: Path) -> None:
    build_ids(JobContext.open(stand))
    set_semantic_ids(stand, 'method = "k-means"')
    with pytest.raises(ConfigError, match=r"method was 'residual-k-means', now 'k-means'"):
        train(stand)


def test_aligned_codes_are_trained_stored_and_given_to_items_that_come_later(stand: Path) -> None:
    set_semantic_ids(stand, 'vectors = "aligned"')
    state = EngineState.open(train(stand).folder)
    assert state.codebooks.alignment is not None
    content = np.asarray(state.features.content)
    np.testing.assert_array_equal(state.codebooks.assign(content), state.features.codes)
    assert train(stand, seed=1).manifest["semantic_ids"]["kept"]
