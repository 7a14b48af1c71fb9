"""Training aligns content on its own older events, and what is posted later is aligned as well."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_shop import SETTINGS, write_files

from serendip.content.behaviour_alignment import align
from serendip.data import Dataset, FloatArray, History, Item, Query
from serendip.data.dataset import cooccurring_pairs
from serendip.data.snapshot import take_snapshot
from serendip.data.splits import temporal
from serendip.engine.engine import Engine
from serendip.engine.state import EngineState
from serendip.engine.workspace import Workspace
from serendip.jobs.context import JobContext
from serendip.jobs.import_files import import_files
from serendip.jobs.train.fit import Fitter
from serendip.models.retriever.model import Retriever
from serendip.runtime.progress import TrainOptions

STAGE = "align content"
SIZE = 24
"""Of the shop's retriever; what follows in its vectors is aligned content, then the bonus."""


def snapshot(workspace: Workspace) -> Dataset:
    with closing(workspace.open_store()) as store:
        return take_snapshot(store, workspace.settings.actions)


def retriever_of(state: EngineState) -> Retriever:
    model = state.models["retriever"]
    assert isinstance(model, Retriever)
    return model


def aligned(state: EngineState) -> FloatArray:
    vectors = retriever_of(state).item_vectors[:, SIZE:-1]
    return vectors[:, : vectors.shape[1] // 2]  # Plain content stands behind it.


def moved(state: EngineState, dataset: Dataset) -> FloatArray:
    """Content of a state moved by the older events of a dataset."""
    content, count = np.array(state.features.content), len(dataset.events)
    pairs = cooccurring_pairs(dataset.events.rows(np.arange(count) < 0.9 * count))
    return align(content, pairs, options=TrainOptions(0)).encode(content)


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace whose codes are those of aligned vectors, as well."""
    folder = tmp_path_factory.mktemp("coded")
    write_files(folder)
    (folder / "serendip.toml").write_text(f'{SETTINGS}\n[semantic_ids]\nvectors = "aligned"\n')
    import_files(Workspace.open(folder))
    return Workspace.open(folder)


def fitter_of(workspace: Workspace, scratch: Path) -> Fitter:
    return Fitter(JobContext.of(workspace), scratch)


def stages(fitter: Fitter) -> list[str]:
    return [stage.name for stage in fitter.clock.stages]


def test_the_retriever_of_a_generation_carries_content_aligned_on_its_older_events(
    trained_folder: Path,
) -> None:
    state = EngineState.open(trained_folder / "generations" / "gen-1")
    expected = moved(state, snapshot(Workspace.open(trained_folder)))
    np.testing.assert_allclose(aligned(state), expected, atol=1e-5)
    assert np.abs(expected - state.features.content).max() > 0.01


def test_content_is_aligned_on_the_events_of_the_dataset_and_no_others(
    trained_folder: Path, tmp_path: Path
) -> None:
    workspace = Workspace.open(trained_folder)
    everything = snapshot(workspace)
    past = temporal(everything, 0.7).train
    fitter = fitter_of(workspace, tmp_path)
    state = fitter.fit_sources(past, "past", TrainOptions(0))
    assert stages(fitter).count(STAGE) == 1
    assert stages(fitter).index(STAGE) < stages(fitter).index("train retriever")
    np.testing.assert_allclose(aligned(state), moved(state, past), atol=1e-5)
    known = np.isin(everything.events.items, np.arange(past.num_items))
    late = replace(past, events=everything.events.rows(known))
    assert np.abs(aligned(state) - moved(state, late)).max() > 0.01


def test_a_posted_item_is_aligned_like_its_twin_and_one_without_words_stays_nothing(
    engine: Engine,
) -> None:
    first = engine.state.catalogue[0]
    twin = Item("twin", first.title, attributes=first.attributes)
    engine.add_items([twin, Item("blank", "")])
    found = aligned(engine.state)
    np.testing.assert_allclose(found[60], found[0], atol=2e-3)  # stored content is rounded
    assert np.linalg.norm(found[60]) == pytest.approx(1, abs=1e-5)
    assert not found[61].any()
    engine.add_items([Item("i1", first.title, attributes=first.attributes)])
    np.testing.assert_allclose(aligned(engine.state)[1], found[60], atol=1e-6)


def test_every_kind_of_request_scores_what_was_posted(engine: Engine) -> None:
    engine.add_items([Item("new", "The horror tale of glass", attributes={"genre": "horror"})])
    retriever, content = retriever_of(engine.state), engine.state.features.content
    words, horror = np.asarray(content[60]), np.asarray([0, 3], np.int32)
    queries = [
        Query(),
        Query(text_vector=words),
        Query(text_vector=np.zeros_like(words)),
        Query(source_items=np.asarray([60], np.int32)),
        Query(history=History.of_items(horror), text_vector=words),
    ]
    scores = retriever.score_all(queries)
    assert scores.shape == (5, 61)
    assert np.isfinite(scores).all()
    product = retriever.encode_queries(queries) @ retriever.item_vectors.T
    np.testing.assert_allclose(product, scores, rtol=0, atol=1e-4)


def test_a_generation_without_aligned_content_opens(shop: Path) -> None:
    folder = shop / "generations" / "gen-1"
    arrays = folder / "models" / "retriever" / "arrays"
    for part in ("values", "scales"):
        (arrays / f"content.{part}.npy").rename(arrays / f"donor_content.{part}.npy")
    for file in (*arrays.glob("align*.npy"), *arrays.glob("content.*.npy")):
        file.unlink()
    before = EngineState.open(folder)
    assert aligned(before).shape == (60, 0)
    assert np.isfinite(retriever_of(before).score_all([Query()])).all()
