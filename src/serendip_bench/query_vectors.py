"""Requests whose words are known before their vectors are: the texts to encode, and their return.

The texts of a trial are encoded once for all rows, so they are listed without any vector, and put
back by the same list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from serendip.data.arrays import FloatArray
from serendip.data.dataset import QueryExamples
from serendip_bench.splits import RequestSet
from serendip_bench.unified.tasks import UnifiedSplit


def without_vectors(texts: list[str], items: list[int]) -> QueryExamples:
    """Examples whose texts are still to be encoded."""
    vectors = np.empty((len(texts), 0), np.float32)
    return QueryExamples(texts, vectors, np.array(items, np.int32))


def texts_of(trial: UnifiedSplit) -> list[str]:
    """All texts of training and of requests, each once, in an order that never changes."""
    examples = trial.sequences.train.queries
    texts = dict.fromkeys(() if examples is None else examples.texts)
    for asked in (*trial.tests.values(), *trial.validation.values()):
        texts.update(dict.fromkeys(query.text for query in asked.queries if query.text))
    return list(texts)


def with_vectors(trial: UnifiedSplit, words: FloatArray) -> UnifiedSplit:
    """The same trial with the vectors of its words.

    Args:
        trial: as ``texts_of`` got it.
        words: (W, C) unit vectors of those texts.
    """
    place = {text: number for number, text in enumerate(texts_of(trial))}
    sequences, train = trial.sequences, trial.sequences.train
    if train.queries is not None:
        examples = train.queries
        vectors = words[[place[text] for text in examples.texts]]
        train = train.with_queries(QueryExamples(examples.texts, vectors, examples.items))

    def worded(questions: Mapping[str, RequestSet]) -> dict[str, RequestSet]:
        return {name: _worded(asked, words, place) for name, asked in questions.items()}

    return UnifiedSplit(
        replace(sequences, train=train), worded(trial.tests), worded(trial.validation)
    )


def _worded(asked: RequestSet, words: FloatArray, place: Mapping[str, int]) -> RequestSet:
    queries = [
        query.with_text_vector(words[place[query.text]]) if query.text else query
        for query in asked.queries
    ]
    return replace(asked, queries=queries)
