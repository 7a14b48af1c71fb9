"""Collects query texts for batch encoding and attaches the vectors afterwards.

The texts of a split are encoded once for all rows of a benchmark.

Shapes: W texts, C content dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from serendip.data import FloatArray, QueryExamples
from serendip_bench.splits import RequestSet
from serendip_bench.unified.tasks import UnifiedSplit


def without_vectors(texts: list[str], items: list[int]) -> QueryExamples:
    """Query examples with empty vectors (n, 0)."""
    vectors = np.empty((len(texts), 0), np.float32)
    return QueryExamples(texts, vectors, np.array(items, np.int32))


def collect_texts(split: UnifiedSplit) -> list[str]:
    """Distinct query texts of training and requests, in a fixed order."""
    examples = split.sequences.train.queries
    texts = dict.fromkeys(() if examples is None else examples.texts)
    for requests in (*split.tests.values(), *split.validation.values()):
        texts.update(dict.fromkeys(query.text for query in requests.queries if query.text))
    return list(texts)


def with_vectors(split: UnifiedSplit, words: FloatArray) -> UnifiedSplit:
    """The same split with query vectors.

    Args:
        split: as passed to ``collect_texts``.
        words: (W, C) unit vectors of the texts of ``collect_texts``.
    """
    row_of = {text: number for number, text in enumerate(collect_texts(split))}
    sequences, train = split.sequences, split.sequences.train
    if train.queries is not None:
        examples = train.queries
        vectors = words[[row_of[text] for text in examples.texts]]  # (examples, C)
        train = train.with_queries(QueryExamples(examples.texts, vectors, examples.items))

    def add_vectors(request_sets: Mapping[str, RequestSet]) -> dict[str, RequestSet]:
        return {
            name: _add_vectors(requests, words, row_of) for name, requests in request_sets.items()
        }

    return UnifiedSplit(
        replace(sequences, train=train), add_vectors(split.tests), add_vectors(split.validation)
    )


def _add_vectors(requests: RequestSet, words: FloatArray, row_of: Mapping[str, int]) -> RequestSet:
    queries = [
        replace(query, text_vector=words[row_of[query.text]]) if query.text else query
        for query in requests.queries
    ]
    return replace(requests, queries=queries)
