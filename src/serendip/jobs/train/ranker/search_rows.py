"""Searches that the ranker learns from.

==========  ====================================================================================
logged      a search of the newer part of the log; positive is what was chosen after it
labelled    a query of the files of ``[ranker.searches] labels``; positive is what people or an LLM
            labelled as relevant, negative what they labelled as irrelevant
written     a query that was written for an item, by an LLM (``serendip llm run queries``) or
            from its fields; positive is that item
==========  ====================================================================================

Written queries have more words of their items than queries that people type, so a ranker that has
seen few others trusts words too much: they have a weight, ``[ranker.searches] written``. Whether it
orders search is decided on searches of the other two sources (``search_order_choice``), without
the queries of files of labels by an LLM: what labels alike may only teach.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from pathlib import Path

import numpy as np

from serendip.data.arrays import FloatArray
from serendip.data.dataset import QueryExamples
from serendip.data.query import TASKS, Query
from serendip.data.vocabulary import Vocabulary
from serendip.files.tables import open_table
from serendip.jobs.labels.pair_files import has_model_labels
from serendip.jobs.llm.judged_queries import JudgedQueries, read_gains
from serendip.jobs.train.ranker.actions import label_actions
from serendip.jobs.train.ranker.labelled_query import LabelledQuery
from serendip.models.ranker.config import (
    SEARCH_SOURCES,
    RankerRows,
    SearchSource,
)

SEARCH = TASKS.index("search")
"""Number of the task."""


def label_judged(
    judged: JudgedQueries, vectors: FloatArray, by_llm: Set[str] = frozenset()
) -> list[LabelledQuery]:
    """Searches for labelled queries, without a user.

    Args:
        judged: Q queries; the weight of a relevant item is its gain.
        vectors: (Q, D) content vectors of the texts.
        by_llm: texts of queries with labels by an LLM.
    """
    labelled = []
    for text, gains, vector in zip(judged.texts, judged.gains, vectors, strict=True):
        items = np.array(sorted(gains), np.int32)  # (P + I,)
        gain = np.array([gains[item] for item in items.tolist()], np.float32)
        relevant = gain > 0
        labelled.append(
            LabelledQuery(
                Query("search", text=text, text_vector=vector),
                items[relevant],
                [label_actions(liked=True, actions=())] * int(relevant.sum()),
                weights=gain[relevant],
                irrelevant=items[~relevant],
                source="labelled",
                by_llm=text in by_llm,
            )
        )
    return labelled


MOST_LABELLED = 3_000
"""Largest number of labelled queries; of more a random sample, always the same."""


def read_judged_files(
    paths: Sequence[Path], vocabulary: Vocabulary, most: int = MOST_LABELLED
) -> JudgedQueries:
    """The queries of files of labels; of two labels of a pair the later file's counts.

    Args:
        paths: of the files.
        vocabulary: of the items; labels of other items are left out.
        most: largest number of queries.

    Raises:
        DataError: a file is missing or broken.
    """
    gains: dict[str, dict[int, float]] = {}
    for path in paths:
        for text, by_item in read_gains(path, vocabulary, excluded=set()).items():
            gains.setdefault(text, {}).update(by_item)
    judged = JudgedQueries.of(gains)
    order = np.random.default_rng(0).permutation(len(judged))
    return judged.rows(np.sort(order[:most]).tolist())


def read_queries_by_llm(paths: Sequence[Path]) -> set[str]:
    """Texts of all queries of the files of labels that name a model.

    Raises:
        DataError: a file is missing or broken.
    """
    by_llm = [path for path in paths if has_model_labels(path)]
    return {str(query) for path in by_llm for (query,) in open_table(path).rows(("query",))}


def write_searches(
    examples: QueryExamples,
    others: Sequence[Query],
    most: int,
    weight: float,
    rng: np.random.Generator,
) -> list[LabelledQuery]:
    """Searches for written queries, every second one with the history of somebody.

    Search must not need a history.

    Args:
        examples: queries with their items.
        others: requests that histories are taken from, in turns.
        most: largest number of searches.
        weight: of each; 0 = there are none.
        rng: draws the queries.
    """
    result = []
    for index, row in enumerate(rng.permutation(len(examples))[:most]):
        past = others[index % len(others)] if others and index % 2 == 0 else Query()
        query = Query(
            "search",
            text=examples.texts[row],
            text_vector=examples.vectors[row],
            history=past.history,
            rejected=past.rejected,
        )
        labels = [label_actions(liked=True, actions=())]
        items = examples.items[row : row + 1]
        result.append(LabelledQuery(query, items, labels, source="written", weight=weight))
    return result if weight else []


def count_searches(rows: RankerRows, sources: Sequence[SearchSource | None]) -> dict[str, int]:
    """Source -> number of its searches with a positive row.

    Args:
        rows: of all requests.
        sources: of each request, by its number in ``rows.group``.
    """
    of_search = (rows.task == SEARCH) & rows.labels.any(1)  # (R,)
    found = Counter(sources[group] for group in np.unique(rows.group[of_search]).tolist())
    return {source: found[source] for source in SEARCH_SOURCES}
