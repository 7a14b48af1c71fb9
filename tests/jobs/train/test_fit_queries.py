from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from fits import fit, prepare
from generated_rows import use_queries
from small_shop import SETTINGS, import_shop, write_files

from serendip.content.behaviour_alignment import align
from serendip.content.encoders.base import TextEncoder
from serendip.content.fusion import TEXT_ONLY
from serendip.data import Catalogue, Dataset, FloatArray
from serendip.data.dataset import cooccurring_pairs
from serendip.data.items.features import TokenReader, Tokens
from serendip.data.snapshot import take_snapshot
from serendip.data.splits import temporal
from serendip.engine.live.state import ItemUpdater
from serendip.engine.state import EngineState
from serendip.engine.workspace import Workspace
from serendip.jobs.context import JobContext
from serendip.jobs.import_files import import_files
from serendip.jobs.train.fit import Fitter
from serendip.runtime.progress import TrainOptions

FIELDS, ATTRIBUTES = ("title", "genre"), ("location",)
PLACES = ("Germany / Berlin", "Germany / Bonn", "Korea / Seoul")


@pytest.fixture(scope="module")
def fitter(tmp_path_factory: pytest.TempPathFactory) -> Fitter:
    folder = tmp_path_factory.mktemp("shop")
    write_files(folder)
    words = 'max_len = 10\ntoken_buckets = 4096\nattributes = ["location"]'
    settings = SETTINGS.replace("max_len = 10", words)
    (folder / "serendip.toml").write_text(settings)
    workspace = Workspace.open(folder)
    import_files(workspace)
    return Fitter(JobContext.of(workspace), folder / "scratch")


@pytest.fixture(scope="module")
def dataset(fitter: Fitter) -> Dataset:
    folder = fitter.scratch.parent
    with Workspace.open(folder).open_store() as store:
        found = take_snapshot(store, fitter.settings.actions)
    items = [
        replace(item, attributes={**item.attributes, "location": PLACES[number % 3]})
        for number, item in enumerate(found.catalogue.items)
    ]
    return replace(found, catalogue=Catalogue(items))


@pytest.fixture(scope="module")
def state(fitter: Fitter, dataset: Dataset) -> EngineState:
    return fit(fitter, dataset, "shop", TrainOptions(0))


def read(tokens: Tokens | None) -> list[list[int]]:
    return [part.tolist() for part in np.split(tokens.hashes, tokens.starts[1:-1])]


def test_items_are_read_by_their_words_and_attributes(fitter: Fitter, dataset: Dataset) -> None:
    content = fitter.build_content(dataset, TrainOptions(0))
    expected = read(TokenReader(FIELDS, ATTRIBUTES).read(dataset.catalogue.items))
    assert read(content.features.tokens) == expected
    later = fitter.encode_new_items(dataset.catalogue.items[:3], content.codebooks, content.fusion)
    assert read(later.tokens) == expected[:3]
    assert len(expected[0]) > len(read(TokenReader(FIELDS).read(dataset.catalogue.items))[0])


def test_what_is_posted_unchanged_keeps_its_vectors_whatever_the_encoder_rounds(
    fitter: Fitter, state: EngineState
) -> None:
    class Rounding:
        """The encoder, but for its last digits."""

        def __getattr__(self, name: str) -> object:
            return getattr(fitter.context.encoder, name)

        def encode(self, texts: Sequence[str]) -> FloatArray:
            vectors = fitter.context.encoder.encode(texts)
            noise = np.random.default_rng(0).normal(0, 1e-3, vectors.shape)
            return (vectors + noise).astype(np.float32)

    updater = ItemUpdater(
        cast("TextEncoder", Rounding()), fitter.settings.content, fitter.settings.token_reader
    )
    first = state.catalogue[0]
    cheaper = replace(first, attributes={**first.attributes, "price": 5.0})
    after = updater.update([cheaper], state)
    assert after.catalogue[0].attributes["price"] == 5.0
    assert np.array_equal(after.features.content[0], state.features.content[0])
    vectors = [one.models["retriever"].item_vectors[0] for one in (state, after)]
    assert np.array_equal(*vectors)


STAGE = "align content"
SIZE = 24
"""Of the shop's retriever; what follows in its vectors is aligned content, then the bonus."""


def snapshot(workspace: Workspace) -> Dataset:
    with workspace.open_store() as store:
        return take_snapshot(store, workspace.settings.actions)


def aligned(state: EngineState) -> FloatArray:
    vectors = state.models["retriever"].item_vectors[:, SIZE:-1]
    return vectors[:, : vectors.shape[1] // 2]  # Plain content stands behind it.


def moved(state: EngineState, dataset: Dataset) -> FloatArray:
    """Content of a state moved by the older events of a dataset."""
    content, count = np.array(state.features.content), len(dataset.events)
    pairs = cooccurring_pairs(dataset.events.rows(np.arange(count) < 0.9 * count))
    return align(content, pairs, options=TrainOptions(0)).encode(content)


def stages(fitter: Fitter) -> list[str]:
    return [stage.name for stage in fitter.clock.stages]


def test_content_is_aligned_on_the_events_of_the_dataset_and_no_others(
    trained_folder: Path, tmp_path: Path
) -> None:
    workspace = Workspace.open(trained_folder)
    everything = snapshot(workspace)
    past = temporal(everything, 0.7).train
    fitter = Fitter(JobContext.of(workspace), tmp_path)
    state = fit(fitter, past, "past", TrainOptions(0))
    assert stages(fitter).count(STAGE) == 1
    assert stages(fitter).index(STAGE) < stages(fitter).index("train retriever")
    np.testing.assert_allclose(aligned(state), moved(state, past), atol=1e-5)
    known = np.isin(everything.events.items, np.arange(past.num_items))
    late = replace(past, events=everything.events.rows(known))
    assert np.abs(aligned(state) - moved(state, late)).max() > 0.01


BY_LLM = {f"an evening of {word}": f"i{number}" for number, word in enumerate("abcdefghijklmnop")}


@pytest.fixture
def written_shop(tmp_path: Path) -> Path:
    folder = import_shop(tmp_path / "shop")
    use_queries(Workspace.open(folder), BY_LLM)
    return folder


def learned_by_ranker(written_shop: Path, scratch: Path) -> set[str]:
    context = JobContext.open(written_shop)
    dataset = context.dataset
    examples = Fitter(context, scratch).written_searches(
        dataset.catalogue, dataset.item_counts(), TEXT_ONLY, 100
    )
    for text, item in zip(examples.texts, examples.items.tolist(), strict=True):
        assert BY_LLM.get(text, dataset.catalogue[item].item_id) == dataset.catalogue[item].item_id
    return {*examples.texts} & BY_LLM.keys()


def test_the_ranker_learns_them_and_the_retriever_does_not(
    written_shop: Path, tmp_path: Path
) -> None:
    assert learned_by_ranker(written_shop, tmp_path) == BY_LLM.keys()
    context = JobContext.open(written_shop)
    prepared = prepare(Fitter(context, tmp_path), context.dataset)
    assert not {*prepared.queries.texts} & BY_LLM.keys()
