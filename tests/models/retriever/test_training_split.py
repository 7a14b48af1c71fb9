from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.data.dataset import AlignedProjection, Dataset
from serendip.models.retriever import train
from serendip.models.retriever.batches import BatchBuilder
from serendip.models.retriever.config import RetrieverConfig
from serendip.models.retriever.requests import HOME, NONE, SEARCH
from serendip.models.retriever.train import RetrieverTraining
from serendip.models.retriever.validation import ValidationRequests, held_out_queries
from serendip.testing import build_small_world


@given(st.lists(st.sampled_from("abcdefghij"), max_size=40), st.floats(0.01, 0.99))
def test_all_queries_of_some_texts_are_hidden(texts: list[str], share: float) -> None:
    hidden = held_out_queries(texts, share)
    away = {text for text, is_hidden in zip(texts, hidden, strict=True) if is_hidden}
    left = {text for text, is_hidden in zip(texts, hidden, strict=True) if not is_hidden}
    assert not away & left
    assert len(away) == (max(1, int(share * len(set(texts)))) if len(set(texts)) > 1 else 0)
    assert np.array_equal(hidden, held_out_queries(texts, share))


def test_without_a_share_nothing_is_hidden() -> None:
    assert not held_out_queries(["a", "b"], 0.0).any()


def drawn_by(maker: BatchBuilder) -> set[int]:
    """The queries of many steps of a maker."""
    random = np.random.default_rng(0)
    batches = [batch for _ in range(30) for batch in maker.epoch(32, random)]
    drawn = np.concatenate([batch.query[batch.task == SEARCH] for batch in batches])
    return set(drawn[drawn != NONE].tolist())


class Watched(RetrieverTraining):
    """Notes which searches are asked, and those with words that were learned apart."""

    searched: set[int]
    searched_read: set[int]

    def _validation_requests(self, task: int, maker: BatchBuilder) -> Iterator[ValidationRequests]:
        for one in super()._validation_requests(task, maker):
            if task == SEARCH:
                query = one.batch.query
                asked = self.searched_read if maker is self.read else self.searched
                asked |= set(query[query != NONE].tolist())
            yield one


def watch(dataset: Dataset) -> Watched:
    size = dataset.features.content.shape[1]
    alignment = AlignedProjection(np.zeros((size, 2), np.float32), np.zeros((2, size), np.float32))
    config = RetrieverConfig(
        embedding_size=8, epochs=2, max_len=10, batch_size=64, validation_share=0.3
    )
    training = Watched(dataset.with_alignment(alignment), config, seed=0)
    training.searched, training.searched_read = set(), set()
    return training


@pytest.fixture
def watched() -> Watched:
    return watch(build_small_world())


def hidden_ones() -> set[int]:
    queries = build_small_world().queries
    return set(np.flatnonzero(held_out_queries(queries.texts, 0.3)).tolist())


def test_hidden_queries_are_not_learned_before_the_end(watched: Watched) -> None:
    assert drawn_by(watched.learned) == set(range(20)) - hidden_ones()
    assert drawn_by(watched.validation) == set(range(20))


def test_the_last_pass_learns_the_held_back_events_and_no_others(watched: Watched) -> None:
    assert watched.held_back
    events = watched.split.log.rows(watched.split.is_validation)
    random = np.random.default_rng(0)
    home = [
        batch.target[(batch.task == HOME) & (batch.target != NONE)]
        for batch in watched.validation.epoch(64, random)
    ]
    assert sorted(np.concatenate(home).tolist()) == sorted(events.items.tolist())


@pytest.mark.parametrize(("most", "epochs"), [(10_000, 2), (400, 2), (250, 1), (10, 1)])
def test_a_long_log_is_learned_in_fewer_epochs(
    most: int, epochs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = build_small_world()  # 240 events
    monkeypatch.setattr(train, "_MOST_EVENTS", most)
    config = RetrieverConfig(epochs=2, validation_share=0.0)
    assert RetrieverTraining(dataset, config, 0).num_epochs == epochs


def test_words_are_weighed_by_queries_that_were_not_learned(watched: Watched) -> None:
    assert watched.affinity() is not None
    assert watched.searched
    assert watched.searched <= hidden_ones()


def test_words_that_were_learned_are_weighed_apart_by_such_queries(watched: Watched) -> None:
    found = watched.affinity()
    assert watched.searched_read
    assert not watched.searched_read & hidden_ones()
    queries = build_small_world().queries
    learned = np.flatnonzero(found.known.know(queries.texts))
    assert set(learned.tolist()) == set(range(20)) - hidden_ones()


def test_training_stops_by_known_words_too(watched: Watched) -> None:
    """What a network says of unknown words falls while all else is still learned."""
    assert watched.validate() is not None
    assert watched.searched & hidden_ones()
    assert watched.searched - hidden_ones()
