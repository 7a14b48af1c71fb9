from __future__ import annotations

import numpy as np
from contract import small_world
from hypothesis import given
from hypothesis import strategies as st

from serendip.models.retriever_batches import NONE, BatchMaker
from serendip.models.retriever_config import RetrieverConfig
from serendip.models.retriever_context import SEARCH, TASKS
from serendip.models.retriever_examples import hidden_queries
from serendip.models.retriever_training import RetrieverTraining


@given(st.lists(st.sampled_from("abcdefghij"), max_size=40), st.floats(0.01, 0.99))
def test_all_queries_of_some_texts_are_hidden(texts: list[str], share: float) -> None:
    hidden = hidden_queries(texts, share)
    away = {text for text, is_hidden in zip(texts, hidden, strict=True) if is_hidden}
    left = {text for text, is_hidden in zip(texts, hidden, strict=True) if not is_hidden}
    assert not away & left
    assert len(away) == (max(1, int(share * len(set(texts)))) if len(set(texts)) > 1 else 0)
    assert np.array_equal(hidden, hidden_queries(texts, share))


def test_without_a_share_nothing_is_hidden() -> None:
    assert not hidden_queries(["a", "b"], 0.0).any()


def drawn_by(maker: BatchMaker) -> set[int]:
    """The queries of many steps of a maker."""
    random = np.random.default_rng(0)
    batches = [batch for _ in range(30) for batch in maker.epoch(32, random)]
    drawn = np.concatenate([batch.query[batch.task == SEARCH] for batch in batches])
    return set(drawn[drawn != NONE].tolist())


def queries_asked(training: RetrieverTraining, maker: BatchMaker) -> set[int]:
    asked = [one.batch.query for one in training._asked(TASKS["search"], maker)]
    return {query for batch in asked for query in batch[batch != NONE].tolist()}


def test_words_are_weighed_by_queries_that_were_not_learned() -> None:
    dataset = small_world()
    assert dataset.queries is not None
    config = RetrieverConfig(
        embedding_size=8, epochs=2, max_len=10, batch_size=64, validation_share=0.3
    )
    hidden = set(np.flatnonzero(hidden_queries(dataset.queries.texts, 0.3)).tolist())
    training = RetrieverTraining(dataset, config, seed=0)
    weighed = queries_asked(training, training.unread)
    assert weighed
    assert weighed <= hidden
    assert drawn_by(training.learned) == set(range(20)) - hidden
    assert drawn_by(training.whole) == set(range(20))


def test_training_stops_by_known_words_too() -> None:
    """What a network says of unknown words falls while all else is still learned."""
    dataset = small_world()
    assert dataset.queries is not None
    config = RetrieverConfig(
        embedding_size=8, epochs=2, max_len=10, batch_size=64, validation_share=0.3
    )
    hidden = set(np.flatnonzero(hidden_queries(dataset.queries.texts, 0.3)).tolist())
    training = RetrieverTraining(dataset, config, seed=0)
    asked = queries_asked(training, training.asked)
    assert asked & hidden
    assert asked - hidden
