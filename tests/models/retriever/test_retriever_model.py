from dataclasses import replace

import numpy as np
import pytest
import torch

from serendip.data import Dataset, History, ItemFeatures, Query
from serendip.errors import DataError, UnsupportedError
from serendip.models.onnx import open_session, to_onnx
from serendip.models.retriever.config import RetrieverConfig
from serendip.models.retriever.item_encoder import NEW_ITEM_BONUS, ItemEncoderArrays
from serendip.models.retriever.model import Retriever
from serendip.models.retriever.network import (
    INPUTS,
    OPEN_AXES,
    ContextEncoder,
    ItemContent,
    ItemTower,
    example_request,
)
from serendip.models.retriever.train import RetrieverTraining, train_retriever
from serendip.models.sequence.packing import Sequences, cooccurrence_vectors
from serendip.runtime.progress import TrainOptions
from serendip.testing import (
    LocalChangeContract,
    RecommenderContract,
    build_small_world,
    draw_features,
    draw_unit_vectors,
)

SMALL = RetrieverConfig(embedding_size=8, search_size=4, epochs=3, max_len=10, batch_size=32)


class TestRetriever(LocalChangeContract, RecommenderContract):
    @classmethod
    def make(cls) -> Retriever:
        return Retriever(SMALL)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return build_small_world()


@pytest.fixture(scope="module")
def trained(dataset: Dataset) -> Retriever:
    return Retriever(SMALL).train(dataset, TrainOptions(seed=5))


def random_request(rows: int, steps: int, config: RetrieverConfig) -> list[torch.Tensor]:
    size = config.embedding_size + config.search_size
    lengths = torch.arange(rows) % (steps + 1)
    lengths[0] = steps
    places = torch.arange(steps).repeat(rows, 1)
    return [
        torch.randn(rows, steps, size),
        torch.randint(0, 2, (rows, steps)),
        torch.randint(0, 9, (rows, steps)),
        torch.where(places < lengths[:, None], places, config.max_len),
        lengths[:, None],
        torch.arange(rows)[:, None] % 3,
        torch.randn(rows, 1, size),
        torch.ones(rows, 1),
        torch.randn(rows, 1, size),
        torch.ones(rows, 1),
    ]


@pytest.fixture(scope="module", params=[0, 16], ids=["one part", "two parts"])
def exported(request: pytest.FixtureRequest) -> tuple[RetrieverConfig, ContextEncoder, object]:
    search_size = request.param
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = RetrieverConfig(max_len=50, search_size=search_size)
        encoder = ContextEncoder(config, 0, search_size).eval()
        for parameter in encoder.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        example = example_request(config.embedding_size + search_size)
        model = to_onnx(encoder, example, INPUTS, ("encoded",), OPEN_AXES)
        return config, encoder, open_session(model)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("steps", [1, 7, 50])
def test_the_exported_encoder_says_what_torch_says(exported, rows: int, steps: int) -> None:
    config, encoder, session = exported
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(rows * 100 + steps)
        request = random_request(rows, steps, config)
        expected = encoder(*request).numpy()
    feed = {name: tensor.numpy() for name, tensor in zip(INPUTS, request, strict=True)}
    np.testing.assert_allclose(session.run(None, feed)[0], expected, rtol=0, atol=1e-4)


def test_requests_of_one_row_see_what_separate_rows_would_see(exported) -> None:
    config, encoder, _ = exported
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        whole = random_request(1, 6, config)
        packed = [*whole[:4], torch.arange(7)[None]]
        packed += [tensor.repeat(1, 7, *[1] * (tensor.ndim - 2)) for tensor in whole[5:]]
        together = encoder(*packed)[0]
        for length in range(7):
            cut = [tensor[:, : max(length, 1)] for tensor in whole[:4]]
            if length == 0:
                cut[3] = torch.full_like(cut[3], config.max_len)
            alone = encoder(*cut, torch.tensor([[length]]), *whole[5:])[0, 0]
            torch.testing.assert_close(alone, together[length], rtol=0, atol=1e-5)


def test_the_numpy_tower_says_what_torch_says_with_the_gate_shut() -> None:
    features = draw_features(2, 12)
    features.content[7] = 0.0  # Nothing is known of it, which is not the same as the bias.
    codes = torch.from_numpy(features.codes).long()
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        tower = ItemTower(ItemContent(features.content), codes, features.codebook_size, SMALL)
        vectors, projected = tower(torch.arange(12), torch.zeros(12))
    arrays = ItemEncoderArrays(
        tower.weight.detach().numpy(),
        tower.bias.detach().numpy(),
        tower.code_tables.detach().numpy(),
        np.zeros((0, 8), np.float32),
        features.content[:0],
    )
    encoded, content_only = arrays.encode(features, np.arange(12))
    np.testing.assert_allclose(encoded, vectors.numpy(), rtol=0, atol=1e-5)
    np.testing.assert_allclose(content_only, projected.numpy(), rtol=0, atol=1e-5)
    assert (np.abs(content_only).max(1) > 0).tolist() == [number != 7 for number in range(12)]


def test_words_that_say_nothing_are_no_words(trained: Retriever, dataset: Dataset) -> None:
    history = dataset.history(1)
    blank = Query("search", history=history, text_vector=np.zeros(16, np.float32))
    found = trained.score_all([blank, Query("search", history=history)])
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-5)


def test_it_learns_which_item_follows_which(dataset: Dataset) -> None:
    chain = np.tile(np.arange(10, dtype=np.int32), 24)
    events = replace(
        dataset.events,
        items=chain,
        users=np.repeat(np.arange(12, dtype=np.int32), 20),
        timestamps=np.arange(240, dtype=np.float64),
    )
    long = {"epochs": 40, "patience": 40, "learning_rate": 0.01, "batch_size": 8}
    config = SMALL.model_copy(update=long)
    model = Retriever(config).train(replace(dataset, events=events, queries=None))
    after = [Query(history=History.of_items(chain[:length])) for length in range(3, 10)]
    best = model.score_all(after).argmax(1)
    assert (best == np.arange(3, 10)).mean() > 0.8


def test_a_changed_item_forgets_its_id_and_an_unchanged_one_keeps_it(
    trained: Retriever, dataset: Dataset
) -> None:
    numbers, other = np.asarray([0, 1], np.int32), draw_features(9, 1)
    content = np.concatenate([other.content, dataset.features.content[1:2]])
    codes = np.concatenate([other.codes, dataset.features.codes[1:2]])
    changed = trained.with_late(ItemFeatures(content, codes, 4), numbers).item_vectors
    tower = train_retriever(dataset, SMALL, TrainOptions(seed=5)).tower
    (borrowed,), (as_new,) = (tower.encode(other, np.asarray([n]))[0] for n in (0, 99))
    np.testing.assert_allclose(changed[0, :-1], borrowed, rtol=0, atol=1e-6)
    assert not np.allclose(borrowed, as_new, atol=1e-3)  # Its own id would have been lent to it.
    assert changed[0, -1] == trained.item_vectors[0, -1] == 0.0
    assert np.array_equal(changed[1:], trained.item_vectors[1:])


def test_it_finds_the_item_of_a_query(dataset: Dataset) -> None:
    queries = replace(
        dataset.queries,
        texts=[""] * dataset.num_items,
        # Unlike the content of their items, so that who has learned nothing finds a tenth of them.
        vectors=draw_unit_vectors(np.random.default_rng(7), dataset.num_items),
        items=np.arange(dataset.num_items, dtype=np.int32),
    )
    config = SMALL.model_copy(update={"epochs": 12, "patience": 12, "learning_rate": 0.01})
    model = Retriever(config).train(dataset.with_queries(queries))
    asked = [Query(task="search", text_vector=vector) for vector in queries.vectors]
    ranked = np.argsort(-model.score_all(asked), axis=1)[:, :3]
    assert (ranked == queries.items[:, None]).any(1).mean() > 0.8


def test_ids_alone_are_enough(dataset: Dataset) -> None:
    bare = replace(dataset, features=None)
    model = Retriever(SMALL).train(bare)
    asked = Query(task="search", text_vector=np.ones(16, np.float32), history=bare.history(0))
    extended = model.with_late(draw_features(0, 2))
    assert np.isfinite(extended.score_all([asked, Query()])).all()
    assert extended.num_items == dataset.num_items + 2
    changed = extended.with_late(draw_features(1, 1), np.asarray([0], np.int32))
    assert np.array_equal(changed.item_vectors, extended.item_vectors)


def test_similar_without_words_reads_the_words_of_its_source(
    trained: Retriever, dataset: Dataset
) -> None:
    bare = Query(task="similar", source_items=np.array([3], np.int32))
    said = replace(bare, text_vector=dataset.features.content[3])
    other = replace(bare, text_vector=-dataset.features.content[3])
    plain, same, different = trained.score_all([bare, said, other])
    np.testing.assert_allclose(plain, same, rtol=0, atol=1e-4)
    assert np.abs(plain - different).max() > 1e-2


def test_an_old_event_about_the_source_is_read_after_ten_thousand_others(
    trained: Retriever, tmp_path
) -> None:
    codes = trained._codes
    source = 0
    like = np.flatnonzero((codes[:, 0] == codes[source, 0]) & (np.arange(len(codes)) > 0))[:1]
    other = np.flatnonzero(codes[:, 0] != codes[source, 0])
    rest = np.random.default_rng(0).choice(other, 10_000).astype(np.int32)
    with_old, without = rest.copy(), rest
    with_old[5_000] = like[0]
    asked = [
        Query("similar", history=History.of_items(items), source_items=np.array([source], np.int32))
        for items in (with_old, without)
    ]
    trained.save(tmp_path)
    opened = Retriever.open(tmp_path)
    changes = [np.subtract(*model.score_all(asked)) for model in (trained, opened)]  # (N,) each
    assert np.abs(changes[0]).max() > 1e-4
    # Stored vectors are rounded, which changes a difference of scores by a share of it.
    np.testing.assert_allclose(changes[1], changes[0], atol=0.02 * np.abs(changes[0]).max())


def test_vectors_of_another_encoder_are_refused(trained: Retriever) -> None:
    odd = Query(task="search", text_vector=np.ones(5, np.float32))
    with pytest.raises(UnsupportedError, match=r"\(5,\)"):
        trained.score_all([odd])
    vectors = draw_unit_vectors(np.random.default_rng(0), 2)[:, :5]
    with pytest.raises(DataError, match="do not fit"):
        trained.with_late(ItemFeatures(vectors, np.zeros((2, 2), np.int32), 4))


def test_items_that_nobody_had_chosen_get_the_bonus_and_no_others_do(dataset: Dataset) -> None:
    queries = [Query(history=History.of_items([1, 2]))]
    model = Retriever(SMALL).train(dataset).with_late(draw_features(1, 4))
    vectors, asked = model.item_vectors, model.encode_queries(queries)
    unseen = np.r_[dataset.item_counts() == 0, np.ones(4, np.bool_)]
    bonus = np.where(unseen, NEW_ITEM_BONUS, 0.0)
    np.testing.assert_allclose(vectors[:, -1], bonus)
    scores = asked[0, :-1] @ vectors[:, :-1].T
    np.testing.assert_allclose(model.score_all(queries)[0] - scores, bonus, atol=1e-4)


def test_ids_start_at_who_is_chosen_beside_whom_and_know_nothing_held_back() -> None:
    dataset = build_small_world()
    training = RetrieverTraining(dataset, SMALL, 0)
    past = dataset.events.rows(np.arange(len(dataset.events)) < len(dataset.events) * 0.95)
    histories = Sequences.of_users(past, dataset.num_users)
    expected = cooccurrence_vectors(histories, dataset.num_items, 8)
    known = np.abs(expected).max(1) > 0
    assert known.any()
    ids, start = training.module.tower.ids.detach().numpy()[known], expected[known]
    begun = start[:, :4] / np.linalg.norm(start[:, :4], axis=1, keepdims=True)
    # Turned, which leaves their dot products as they are.
    for part, own in ((ids[:, :8], start * 8**0.5), (ids[:, 8:], begun * 4**0.5)):
        np.testing.assert_allclose(part @ part.T, own @ own.T, atol=1e-4)
