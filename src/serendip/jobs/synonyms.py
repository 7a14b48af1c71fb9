"""Proposes synonyms for review by a person.

There are two sources. The *log*: pairs of queries after which people chose the same items (cosine
of the counts of chosen items). *Vectors*: the nearest neighbours of catalogue words by the text
encoder. Pairs that are already in the table, whatever their state, are not changed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any

import numpy as np

from serendip.content.cache import VectorCache
from serendip.content.encoders.base import TextEncoder
from serendip.data.arrays import FloatArray
from serendip.data.events.search_log import SUGGESTED, LoggedRequest
from serendip.data.privacy import count_people, private_keys
from serendip.data.text import normalise, words
from serendip.engine.workspace import Workspace
from serendip.jobs.context import JobContext
from serendip.runtime.progress import TrainOptions
from serendip.search.lexical import word_counts
from serendip.search.synonyms import MOST_WORDS, Synonym, add_synonyms

MIN_LETTERS, MIN_ITEMS = 3, 3
"""Minimum letters and items of a catalogue word; synonyms of others are not useful."""

MIN_USERS = 3
"""Minimum number of people who searched a proposed text; see ``data.privacy``."""

MIN_COSINE = 0.8
MAX_PAIRS_PER_WORD = 2
"""Largest number of pairs per word, by vectors."""

_BATCH = 1_024


def mine_synonyms(context: JobContext) -> dict[str, Any]:
    """Propose synonyms without an LLM; see ``add_proposals``."""
    dataset = context.dataset
    counts = word_counts(dataset.catalogue, context.settings.search.lexical.fields)
    pairs = propose_from_log(dataset.requests)
    pairs += propose_from_vectors(counts, context.encoder, context.word_vectors, context.options)
    return add_proposals(context.workspace, pairs)


def add_proposals(workspace: Workspace, pairs: Sequence[Synonym]) -> dict[str, Any]:
    """Add pairs to the file of a workspace; its existing pairs are not changed.

    Returns:
        the file, the number of new pairs and the number of all by state.

    Raises:
        DataError: a line of the file is wrong.
        StorageError: another process is changing the file.
    """
    written, rows = add_synonyms(workspace.synonyms, pairs)
    states = dict(Counter(row.state for row in rows))
    return {"written": written, "states": states, "out": str(workspace.synonyms)}


def propose_from_log(requests: Sequence[LoggedRequest]) -> list[Synonym]:
    """Pairs of queries after which the same items were chosen, in both directions.

    Only queries of at most ``MOST_WORDS`` words, by at least ``MIN_USERS`` people and without a
    private spelling. Prefixes after which a user took a suggested title are left out.
    """
    private = private_keys(request.text for request in requests)
    users: dict[str, set[str]] = defaultdict(set)
    chosen: dict[str, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    for request in requests:
        text = normalise(request.text)
        if request.surface == SUGGESTED or text in private or not len(request.chosen):
            continue
        if 0 < len(words(text)) <= MOST_WORDS:
            users[text].add(request.user_id)
            for item in request.chosen.tolist():
                chosen[text][item] += 1.0
    texts = sorted(text for text, ids in users.items() if len(count_people(ids)) >= MIN_USERS)
    by_item: dict[int, list[str]] = defaultdict(list)
    for text in texts:
        for item in chosen[text]:
            by_item[item].append(text)
    pairs = {pair for group in by_item.values() for pair in permutations(group, 2)}
    cosines = {(term, also): _cosine(chosen[term], chosen[also]) for term, also in pairs}
    return [
        Synonym(term, also, "proposed", min(cosine, 1.0), "log")
        for (term, also), cosine in sorted(cosines.items())
        if cosine >= MIN_COSINE
    ]


def propose_from_vectors(
    counts: Mapping[str, int], encoder: TextEncoder, cache: VectorCache, options: TrainOptions
) -> list[Synonym]:
    """Pairs of each catalogue word and its nearest words.

    Args:
        counts: word -> number of items that have it.
        encoder: text encoder.
        cache: of word vectors.
        options: seed and progress.
    """
    minable = [word for word, count in counts.items() if is_minable(word, count)]
    return [
        Synonym(word, other, "proposed", cosine, "vectors")
        for word, near in find_nearest_words(minable, minable, encoder, cache, options).items()
        for other, cosine in near
    ]


def find_nearest_words(
    queries: Sequence[str],
    vocabulary: Sequence[str],
    encoder: TextEncoder,
    cache: VectorCache,
    options: TrainOptions,
) -> dict[str, tuple[tuple[str, float], ...]]:
    """Word -> its nearest words of a vocabulary, itself excluded, with their cosines.

    Words without a neighbour of at least ``MIN_COSINE`` are left out.

    Args:
        queries: Q words.
        vocabulary: V words.
        encoder: text encoder.
        cache: of word vectors.
        options: seed and progress.
    """
    if not queries or not vocabulary:
        return {}
    vectors = cache.encode(encoder, vocabulary, options.progress, "words")
    query_vectors = cache.encode(encoder, queries, options.progress, "words")
    numbers = {word: number for number, word in enumerate(vocabulary)}
    neighbours = {}
    for begin in range(0, len(queries), _BATCH):
        cosines = query_vectors[begin : begin + _BATCH] @ vectors.T  # (batch, V)
        for word, row in zip(queries[begin : begin + _BATCH], cosines, strict=True):
            if word in numbers:
                row[numbers[word]] = -1.0
            if near := _select_nearest(vocabulary, row):
                neighbours[word] = near
    return neighbours


def _select_nearest(
    vocabulary: Sequence[str], cosines: FloatArray
) -> tuple[tuple[str, float], ...]:
    """The first words by cosine, as far as they reach ``MIN_COSINE``."""
    best = np.argsort(-cosines, kind="stable")[:MAX_PAIRS_PER_WORD].tolist()
    return tuple(
        (vocabulary[other], min(float(cosines[other]), 1.0))
        for other in best
        if cosines[other] >= MIN_COSINE
    )


def is_minable(word: str, count: int) -> bool:
    """True if a catalogue word is worth mining synonyms for: letters only, long, not rare."""
    return word.isalpha() and len(word) >= MIN_LETTERS and count >= MIN_ITEMS


def _cosine(left: Mapping[int, float], right: Mapping[int, float]) -> float:
    """Cosine of two sparse vectors."""
    product = sum(value * right.get(item, 0.0) for item, value in left.items())
    norms = [sum(value**2 for value in vector.values()) ** 0.5 for vector in (left, right)]
    return float(product / (norms[0] * norms[1]))
