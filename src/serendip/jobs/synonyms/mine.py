"""``serendip synonyms build``: pairs of words worth looking for together, for people to review.

Two sources. The *log*: two texts after which several people chose the same items (cosine of the
counts of what was chosen). *Vectors*: words of the catalogue that the text encoder puts close to
each other, each looking for its nearest. What is in the table already, accepted, rejected or
proposed, stays as it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from serendip.content.cache import VectorCache
from serendip.content.encoders.base import TextEncoder
from serendip.data.arrays import FloatArray
from serendip.data.privacy import count_people, private_keys
from serendip.data.search_log import SUGGESTED, LoggedRequest
from serendip.data.text import normalise, words
from serendip.engine.workspace import Workspace
from serendip.jobs.context import JobContext
from serendip.runtime.progress import TrainOptions
from serendip.search.lexical import word_counts
from serendip.search.synonyms import MOST_WORDS, Synonym, changed_synonyms

MIN_LETTERS, MIN_ITEMS = 3, 3
"""Of a word of the catalogue: shorter or rarer ones have no synonyms that matter."""

MIN_USERS = 3
"""People who must have searched a text before it is proposed; see ``data.privacy``."""

MIN_COSINE = 0.8
PER_WORD = 2
"""Pairs of one word from vectors."""

_ROWS_AT_ONCE = 1_024


def build_synonyms(context: JobContext) -> tuple[list[Synonym], int]:
    """Propose pairs of words and add them to the table of a workspace.

    Returns:
        all rows of the table, and how many of them are new.

    Raises:
        DataError: a line of the table is wrong.
        StorageError: another process is changing the table.
    """
    dataset = context.dataset
    counts = word_counts(dataset.catalogue, context.settings.search.lexical.fields)
    found = from_log(dataset.requests)
    found += from_vectors(counts, context.encoder, context.word_vectors, context.options)
    return with_proposed(context.workspace, found)


def with_proposed(workspace: Workspace, found: Sequence[Synonym]) -> tuple[list[Synonym], int]:
    """Add pairs to the table of a workspace; what is in it already stays as it is.

    Returns:
        all rows of the table, and how many of them are new.

    Raises:
        DataError: a line of the table is wrong.
        StorageError: another process is changing the table.
    """
    known, rows = changed_synonyms(workspace.synonyms, lambda known: _with_new(known, found))
    return rows, len(rows) - len(known)


def from_log(requests: Sequence[LoggedRequest]) -> list[Synonym]:
    """Texts after which the same items were chosen, both ways.

    Only texts of at most three words that three people or more searched, of which no spelling is
    private; what one of them typed alone never gets into the table, nor do the first letters after
    which somebody took a suggested title.
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
    texts = sorted(text for text, own in users.items() if len(count_people(own)) >= MIN_USERS)
    by_item: dict[int, list[str]] = defaultdict(list)
    for text in texts:
        for item in chosen[text]:
            by_item[item].append(text)
    pairs = {(one, two) for own in by_item.values() for one in own for two in own if one != two}
    likeness = {pair: _cosine(chosen[pair[0]], chosen[pair[1]]) for pair in pairs}
    return [
        Synonym(one, two, "proposed", min(share, 1.0), "log")
        for (one, two), share in sorted(likeness.items())
        if share >= MIN_COSINE
    ]


def from_vectors(
    counts: Mapping[str, int], encoder: TextEncoder, cache: VectorCache, options: TrainOptions
) -> list[Synonym]:
    """For every word of the catalogue, its nearest ones.

    Args:
        counts: word -> number of items that have it.
        encoder: of texts.
        cache: of its vectors.
        options: whose progress is drawn.
    """
    known = [word for word, count in counts.items() if is_proper(word, count)]
    return [
        Synonym(word, other, "proposed", cosine, "vectors")
        for word, near in nearest_words(known, known, encoder, cache, options).items()
        for other, cosine in near
    ]


def nearest_words(
    asked: Sequence[str],
    known: Sequence[str],
    encoder: TextEncoder,
    cache: VectorCache,
    options: TrainOptions,
) -> dict[str, tuple[tuple[str, float], ...]]:
    """For each word asked about the nearest known ones with their cosines, those that are near.

    Args:
        asked: any words.
        known: words that may be near.
        encoder: of texts.
        cache: of its vectors.
        options: whose progress is drawn.
    """
    if not asked or not known:
        return {}
    vectors = cache.encode(encoder, known, options.progress, "words")
    rows = cache.encode(encoder, asked, options.progress, "words")
    places = {word: place for place, word in enumerate(known)}
    found = {}
    for begin in range(0, len(asked), _ROWS_AT_ONCE):
        cosines = rows[begin : begin + _ROWS_AT_ONCE] @ vectors.T
        for word, own in zip(asked[begin : begin + _ROWS_AT_ONCE], cosines, strict=True):
            if word in places:
                own[places[word]] = -1.0
            if near := _nearest(known, own):
                found[word] = near
    return found


def _with_new(known: Sequence[Synonym], found: Sequence[Synonym]) -> list[Synonym]:
    seen = {row.key for row in known}
    new = {row.key: row for row in reversed(found) if row.key not in seen}
    return [*known, *new.values()]


def _nearest(known: Sequence[str], cosines: FloatArray) -> tuple[tuple[str, float], ...]:
    best = np.argsort(-cosines, kind="stable")[:PER_WORD].tolist()
    return tuple(
        (known[other], min(float(cosines[other]), 1.0))
        for other in best
        if cosines[other] >= MIN_COSINE
    )


def is_proper(word: str, count: int) -> bool:
    """Whether a word that so many items have can have words near to it that matter."""
    return word.isalpha() and len(word) >= MIN_LETTERS and count >= MIN_ITEMS


def _cosine(one: Mapping[int, float], two: Mapping[int, float]) -> float:
    both = sum(share * two.get(item, 0.0) for item, share in one.items())
    lengths = [sum(share**2 for share in own.values()) ** 0.5 for own in (one, two)]
    return float(both / (lengths[0] * lengths[1]))
