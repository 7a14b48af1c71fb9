import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from serendip.data.arrays import IntArray
from serendip.data.dataset import Dataset, UserCountries
from serendip.data.events.rejections import Rejected
from serendip.data.items.catalogue import Catalogue, Item
from serendip.data.items.features import ItemFeatures
from serendip.data.items.reception import Reception
from serendip.data.items.semantic_ids import Codebooks, CodeCells
from serendip.data.query import TASKS, History, Query
from serendip.engine.config.models import ModelsConfig
from serendip.engine.matches import Matches
from serendip.engine.presenter import Presenter
from serendip.engine.request import Request
from serendip.engine.stages.surfaces import DEFAULT_SURFACES, SurfaceConfig
from serendip.engine.state import EngineState
from serendip.models.context_counts import ITEM_COUNTRIES, ContextConfig, ContextCounts
from serendip.models.item_to_item import ItemKNNConfig, TransitionsConfig
from serendip.models.ranker.config import RankerConfig, RankerRows
from serendip.models.ranker.model import Ranker
from serendip.models.retriever.config import RetrieverConfig, UnifiedConfig
from serendip.runtime.progress import TrainOptions
from serendip.search.names import ValueTable
from serendip.search.searcher import Searcher
from serendip.testing import build_small_world
from serendip.testing.worlds import NUM_CODES, VECTOR_SIZE, draw_unit_vectors

NUM_ITEMS, NUM_TRAINED = 400_000, 300
RETRIEVER = RetrieverConfig(embedding_size=8, search_size=4, epochs=1, max_len=10)


def with_few(surface: SurfaceConfig, **changes: object) -> SurfaceConfig:
    """A surface with small quotas, so that its candidates take less memory than a mask."""
    sources = {name: min(quota, 30) for name, quota in surface.sources.items()}
    return surface.model_copy(update={"sources": sources, **changes})


SURFACES = {
    **{name: with_few(surface) for name, surface in DEFAULT_SURFACES.items()},
    "odd": with_few(DEFAULT_SURFACES["home"], filters=("seen", "kind=odd")),
    "rare": with_few(DEFAULT_SURFACES["similar"], filters=("kind=rare",)),
    "fused": SurfaceConfig(
        task="search", sources={"words": 30, "retriever": 30, "sponsored": 10}, sponsored={}
    ),
}


def kind_of(number: int) -> str:
    return "rare" if number % 1_000 == 7 else ("odd" if number % 2 else "even")


def count_contexts(world: Dataset, codes: IntArray) -> ContextCounts:
    """Every part of the context, in two countries and on two devices."""
    halves = (np.arange(len(world.events)) % 2).astype(np.int32)
    log = replace(world.events, countries=halves, devices=halves)
    homes = UserCountries(("kr", "US"), np.zeros(world.num_users, np.int32))
    known = replace(world, events=log, device_names=("phone", "tv")).with_countries(homes)
    found = ContextCounts.of(known, codes, ContextConfig(use="on", price="bid"))
    return replace(found, parts=found.parts | {"price", "age", ITEM_COUNTRIES})


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> EngineState:
    """Many items, of which the first 300 have events, titles and words."""
    world = build_small_world(NUM_TRAINED, num_users=40, num_events=4_000)
    rng, count = np.random.default_rng(0), NUM_ITEMS - NUM_TRAINED
    codes = rng.integers(0, NUM_CODES, (count, 2)).astype(np.int32)
    later = ItemFeatures(draw_unit_vectors(rng, count), codes, NUM_CODES)
    tables = {
        "retriever": RETRIEVER,
        "transitions": TransitionsConfig(mode="plain", decay=0.5),
        "item-knn": ItemKNNConfig(num_neighbours=30),
    }
    models = ModelsConfig.model_validate(tables).build(UnifiedConfig())
    for name, model in models.items():
        models[name] = model.train(world, TrainOptions(seed=0)).with_late(later)
    titled = list(world.catalogue.items)
    untitled = (
        Item(f"i{number}", "", "", {"kind": kind_of(number), "bid": float(number % 3)})
        for number in range(NUM_TRAINED, NUM_ITEMS)
    )
    counts = np.zeros(NUM_ITEMS, np.int32)
    counts[:NUM_TRAINED] = world.item_counts()
    hidden = np.zeros(NUM_ITEMS, np.bool_)
    hidden[[5, 190_000]] = True
    folder = tmp_path_factory.mktemp("words")
    searcher = Searcher.build(Catalogue(titled), counts[:NUM_TRAINED], folder)
    codebooks = Codebooks(rng.normal(size=(2, NUM_CODES, VECTOR_SIZE)).astype(np.float32))
    numbers = np.arange(NUM_TRAINED, NUM_ITEMS, dtype=np.int32)
    everything = replace(world.features, tokens=None).put(numbers, later)
    state = EngineState(
        catalogue=Catalogue([*titled, *untitled]),
        features=everything,
        codebooks=codebooks,
        cells=CodeCells.of(everything.codes, codebooks),
        mean_quality=0.5,
        models=models,
        ranker=None,
        searcher=replace(searcher, values=ValueTable.of(titled)),
        counts=counts,
        quality=np.full(NUM_ITEMS, 0.5, np.float32),
        hidden=hidden,
        code_names={},
        variants=np.arange(NUM_ITEMS, dtype=np.int32),
        reception=Reception.none(NUM_ITEMS),
        context=count_contexts(world, everything.codes[:NUM_TRAINED]),
    )
    assert {"country fit", "hour fit", "log price above usual"} <= set(state.feature_names)
    names = state.feature_names
    rows = RankerRows(
        features=rng.normal(size=(60, len(names))).astype(np.float32),
        task=rng.integers(0, 2, 60),
        labels=(rng.random((60, 2)) < 0.3).astype(np.float32),
        weights=np.ones(60, np.float32),
        group=np.arange(60) // 6,
    )
    config = RankerConfig(epochs=1)
    ordered = (TASKS.index("home"), TASKS.index("similar"))
    return replace(state, ranker=Ranker(config).train(rows, names, ordered_tasks=ordered))


def peak_bytes(call: Callable[[], object]) -> int:
    """Most memory that a call holds at one time, besides what was held before."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


LONG = np.concatenate([np.arange(200, 700), np.arange(0, 60)]).astype(np.int32)
HISTORIES = {
    "a visitor": History(),
    "a user of many events": History.of_items(np.append(np.tile(LONG, 3), np.int32(150_001))),
}


@pytest.mark.parametrize("who", HISTORIES)
@pytest.mark.parametrize("name", SURFACES)
def test_memory_of_a_request_is_less_than_a_byte_per_item(
    state: EngineState, name: str, who: str
) -> None:
    surface = SURFACES[name]
    rng = np.random.default_rng(1)
    query = Query(
        surface.task,
        text="thing number 7" if "query" in surface.context else "",
        text_vector=draw_unit_vectors(rng, 1)[0],
        history=HISTORIES[who],
        rejected=Rejected(np.array([11, 170_000], np.int32), np.array([1, 2], np.int8)),
        source_items=np.array([4, 125_000], np.int32),
        time=2e6,
        country="kr",
        device="tv",
    )
    request = Request(name, k=20, facets=("kind",), parts=True)

    def answer() -> int:
        matches = Matches(query, surface, state)
        result = matches.run_first()
        presenter = Presenter(state, "gen-1", request, fields=["kind"])
        presenter.build_explanation(result, query, 123_456)
        total, _ = matches.count(result, is_whole=False)
        counted = matches.list_counted(result)
        assert total >= len(counted)
        return len(presenter.build_answer(result, counted).items)

    num_items = answer()  # what a state computes once is computed here
    assert num_items or surface.min_value is not None
    assert peak_bytes(answer) < NUM_ITEMS
