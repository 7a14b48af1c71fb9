"""Training reads words and attributes of items, and what is posted later is read the same way."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from small_shop import SETTINGS, write_files

from serendip.content.encoders.base import TextEncoder
from serendip.data import Catalogue, Dataset, FloatArray, Item
from serendip.data.items.features import TokenReader, Tokens
from serendip.data.snapshot import take_snapshot
from serendip.engine.config.models import ModelsConfig
from serendip.engine.live.state import ItemUpdater
from serendip.engine.state import EngineState
from serendip.engine.workspace import Workspace
from serendip.jobs.context import JobContext
from serendip.jobs.import_files import import_files
from serendip.jobs.train.fit import Fitter
from serendip.runtime.progress import TrainOptions

FIELDS, ATTRIBUTES = ("title", "genre"), ("location",)
PLACES = ("Germany / Berlin", "Germany / Bonn", "Korea / Seoul")


def placed(item: Item, number: int) -> Item:
    return replace(item, attributes={**item.attributes, "location": PLACES[number % 3]})


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
    with closing(Workspace.open(folder).open_store()) as store:
        found = take_snapshot(store, fitter.settings.actions)
    items = [placed(item, number) for number, item in enumerate(found.catalogue.items)]
    return replace(found, catalogue=Catalogue(items))


@pytest.fixture(scope="module")
def state(fitter: Fitter, dataset: Dataset) -> EngineState:
    return fitter.fit_sources(dataset, "shop", TrainOptions(0))


def read(tokens: Tokens | None) -> list[list[int]]:
    assert tokens is not None
    return [part.tolist() for part in np.split(tokens.hashes, tokens.starts[1:-1])]


def test_items_are_read_by_their_words_and_attributes(fitter: Fitter, dataset: Dataset) -> None:
    prepared = fitter.prepare(dataset, TrainOptions(0))
    assert prepared.dataset.features is not None
    expected = read(TokenReader(FIELDS, ATTRIBUTES).read(dataset.catalogue.items))
    assert read(prepared.dataset.features.tokens) == expected
    later = fitter.encode_new_items(
        dataset.catalogue.items[:3], prepared.codebooks, prepared.fusion
    )
    assert read(later.tokens) == expected[:3]
    assert len(expected[0]) > len(read(TokenReader(FIELDS).read(dataset.catalogue.items))[0])


def test_items_can_be_posted_after_the_table_was_left_out_of_the_settings(
    fitter: Fitter, state: EngineState
) -> None:
    table = fitter.settings.models.retriever.model_copy(update={"token_buckets": 0})
    models = ModelsConfig.model_validate({"retriever": table})
    settings = fitter.settings.model_copy(update={"models": models})
    updater = ItemUpdater(fitter.context.encoder, settings.content, settings.token_reader)
    after = updater.update([replace(state.catalogue[0], item_id="new")], state)
    assert after.catalogue[-1].item_id == "new"


def test_what_is_posted_stands_where_its_place_puts_it(
    fitter: Fitter, state: EngineState, tmp_path: Path
) -> None:
    state.save(tmp_path)
    opened = EngineState.open(tmp_path)
    updater = ItemUpdater(
        fitter.context.encoder, fitter.settings.content, fitter.settings.token_reader
    )
    first = state.catalogue[0]
    posted = [replace(placed(first, place), item_id=f"new {place}") for place in range(3)]
    for one in (state, opened):
        after = updater.update(posted, one)
        vectors = after.models["retriever"].item_vectors[-3:]
        near, far = (np.linalg.norm(vectors[0] - vectors[place]) for place in (1, 2))
        assert 0 < near < far
        moved = updater.update([placed(first, 2)], one).models["retriever"]
        again = updater.update([first], one).models["retriever"]
        rows = [model.item_vectors[0] for model in (moved, again)]
        assert np.abs(rows[0] - rows[1]).max() > 1e-3
        assert np.array_equal(rows[1], one.models["retriever"].item_vectors[0])


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
