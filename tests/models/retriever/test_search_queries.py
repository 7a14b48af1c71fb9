from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from serendip.data import Dataset, Query, QueryExamples
from serendip.data.dataset import AlignedProjection
from serendip.data.items.features import TokenReader, Tokens
from serendip.data.items.quality import item_quality
from serendip.models.retriever.config import RetrieverConfig
from serendip.models.retriever.item_encoder import ItemEncoderArrays
from serendip.models.retriever.model import Retriever
from serendip.models.retriever.network import ItemContent, ItemTower, sum_tokens
from serendip.runtime.progress import TrainOptions
from serendip.testing import (
    RecommenderContract,
    build_small_world,
    draw_features,
    draw_unit_vectors,
)

CONFIG = RetrieverConfig(
    embedding_size=8, search_size=4, epochs=3, max_len=10, batch_size=32, token_buckets=64
)
FIELDS = ("title",)


def worded_world() -> Dataset:
    """The small world, whose items have words."""
    dataset = build_small_world()
    tokens = TokenReader(FIELDS).read(dataset.catalogue.items)
    return dataset.with_features(replace(dataset.features, tokens=tokens))


class TestWholeRetriever(RecommenderContract):
    """With all that a retriever may have: words, aligned content, quality."""

    @classmethod
    def make(cls) -> Retriever:
        return Retriever(CONFIG.model_copy(update={"quality_loss": 0.1}))

    @pytest.fixture(scope="class")
    @classmethod
    def dataset(cls) -> Dataset:
        down, up = np.random.default_rng(0).normal(size=(2, 16, 4)).astype(np.float32)
        alignment = AlignedProjection(down, np.ascontiguousarray(up.T))
        dataset = worded_world().with_alignment(alignment)
        return dataset.with_quality(item_quality(dataset))


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return worded_world()


@pytest.fixture(scope="module")
def trained(dataset: Dataset) -> Retriever:
    return Retriever(CONFIG).train(dataset, TrainOptions(seed=5))


def test_a_text_is_the_sum_of_its_words_over_the_root_of_their_number() -> None:
    tokens = Tokens.of_texts(["a b c d", "", "a"])
    table = torch.arange(20.0).reshape(10, 2)
    found = sum_tokens(tokens, table, torch.tensor([2, 1, 0, 2]))
    rows = table[tokens.hashes % 10]
    torch.testing.assert_close(found[0], rows[4])
    torch.testing.assert_close(found[1], torch.zeros(2))
    torch.testing.assert_close(found[2], rows[:4].sum(0) / 2)
    torch.testing.assert_close(found[3], rows[4])


def test_the_numpy_tower_reads_words_as_torch_does() -> None:
    features = draw_features(2, 12)
    tokens = Tokens.of_texts([f"w{number} w{number % 3}" for number in range(11)] + [""])
    content, codes = torch.from_numpy(features.content), torch.from_numpy(features.codes).long()
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        tower = ItemTower(
            ItemContent(features.content), codes, features.codebook_size, CONFIG, 4, tokens
        )
        torch.nn.init.normal_(tower.token_table)
        vectors, projected = tower(torch.arange(12), torch.zeros(12))
        typed = tower.add_tokens(tower.project(content), tokens, torch.arange(12))
    arrays = ItemEncoderArrays(
        tower.weight.detach().numpy(),
        tower.bias.detach().numpy(),
        tower.code_tables.detach().numpy(),
        np.zeros((0, 12), np.float32),
        features.content[:0],
        search_size=4,
        token_table=tower.token_table.detach().numpy(),
    )
    encoded, read = arrays.encode(replace(features, tokens=tokens), np.arange(12))
    np.testing.assert_allclose(encoded, vectors.numpy(), rtol=0, atol=1e-5)
    np.testing.assert_allclose(read, projected.numpy(), rtol=0, atol=1e-5)
    np.testing.assert_allclose(read, typed.numpy(), rtol=0, atol=1e-5)
    bare, _ = arrays.encode(replace(features, tokens=Tokens.none(12)), np.arange(12))
    assert (np.abs(bare - encoded).max(1) > 0.1).tolist() == [True] * 11 + [False]


def test_words_find_items_that_their_vectors_do_not() -> None:
    """All texts have the same vector, so only words can tell what is meant."""
    world = worded_world()
    numbers = np.arange(world.num_items, dtype=np.int32)
    texts = [f"number {number}" for number in numbers]
    vector = draw_unit_vectors(np.random.default_rng(0), 1)
    queries = QueryExamples(texts, np.repeat(vector, len(texts), 0), numbers)
    content = np.repeat(vector, len(texts), 0)
    features = replace(world.features, content=content)
    world = world.with_features(features).with_queries(queries)
    asked = [Query("search", text=text, text_vector=vector[0]) for text in texts]
    config = CONFIG.model_copy(
        update={"epochs": 100, "learning_rate": 0.02, "token_buckets": 512, "item_mode": "content"}
    )  # .97 of the words or more with each of ten seeds and two kernels; with 40 and .005 .73
    hits = {}
    for buckets in (0, 512):
        model = Retriever(config.model_copy(update={"token_buckets": buckets}))
        scores = model.train(world, TrainOptions(seed=1)).score_all(asked)
        hits[buckets] = float((scores.argmax(1) == numbers).mean())
    assert hits[0] < 0.1
    assert hits[512] > 0.9


def test_words_are_kept_when_it_is_saved(trained: Retriever, tmp_path: Path) -> None:
    trained.save(tmp_path)
    opened = Retriever.open(tmp_path)
    vector = draw_unit_vectors(np.random.default_rng(1), 1)[0]
    one, other = (
        opened.score_all([Query("search", text=text, text_vector=vector)])
        for text in ("Thing number 3", "never read")
    )
    assert np.abs(one - other).max() > 0.02 * np.abs(one).max()
    asked = [Query("search", text="Thing number 3", text_vector=vector)]
    scores = trained.score_all(asked)
    np.testing.assert_allclose(opened.score_all(asked), scores, atol=0.005 * scores.max())


def test_an_item_whose_words_changed_moves(trained: Retriever, dataset: Dataset) -> None:
    number = np.array([4], np.int32)
    same = dataset.features.rows(number)
    kept = trained.with_late(same, number)
    assert np.array_equal(kept.item_vectors, trained.item_vectors)
    moved = trained.with_late(replace(same, tokens=Tokens.of_texts(["thing"])), number)
    assert np.abs(moved.item_vectors[4] - trained.item_vectors[4]).max() > 1e-3
