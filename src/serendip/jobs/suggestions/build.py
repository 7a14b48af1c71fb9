"""Builds the table of suggested queries: candidates of the catalogue, the log and an LLM, verified.

``serendip train`` builds a table for every generation, of all queries that an LLM wrote, also those
that search does not find their items by now.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from serendip.data import Catalogue, IntArray, TimeArray
from serendip.data.events.search_log import Search
from serendip.data.items.reception import find_starts
from serendip.data.store.tables.generated import Generated
from serendip.data.text import normalise
from serendip.engine.workspace import Workspace
from serendip.jobs.context import JobContext
from serendip.runtime.atomic_files import scratch_folder
from serendip.runtime.progress import Progress
from serendip.search.config import QueriesConfig
from serendip.search.searcher import Searcher
from serendip.search.suggestions.candidates import Candidate, catalogue_candidates, logged_queries
from serendip.search.suggestions.checks import verify_candidates
from serendip.search.suggestions.co_searches import CoSearches
from serendip.search.suggestions.combinations import Categories
from serendip.search.suggestions.table import ItemChoices, QueryTable

UNKNOWN_STARTS: TimeArray = np.empty(0)


SuggestionBuild: TypeAlias = tuple[QueryTable, dict[str, Any]]
"""Verified queries; numbers of candidates and queries by source, of dropped ones by test."""


def compute_queries(context: JobContext, written: Sequence[Candidate] = ()) -> SuggestionBuild:
    """Build suggested queries on a word index of their own; see ``build_suggestions``.

    Raises:
        DataError: the catalogue is empty.
    """
    dataset = context.query_log.dataset
    popularity = dataset.item_counts().astype(np.float32)
    with scratch_folder() as scratch:
        folder, fields = scratch / "search", context.settings.search.fields
        searcher = Searcher.build(dataset.catalogue, popularity, folder, fields)
        return build_suggestions(context, searcher, written)


def build_suggestions(
    context: JobContext, searcher: Searcher, written: Sequence[Candidate]
) -> SuggestionBuild:
    """Build suggested queries; the searcher is over the items, by words alone."""
    dataset, config = context.query_log.dataset, context.settings.queries
    catalogue, counts = dataset.catalogue, dataset.item_counts()
    candidates = catalogue_candidates(catalogue, counts.astype(np.float32), config)
    candidates += written
    parts = (searcher, config, counts, context.query_log.searches, context.options.progress)
    return build_table(catalogue, candidates, *parts, find_starts(dataset))


def build_table(
    catalogue: Catalogue,
    candidates: Sequence[Candidate],
    searcher: Searcher,
    config: QueriesConfig,
    counts: IntArray,
    searches: Sequence[Search],
    progress: Progress,
    starts: TimeArray = UNKNOWN_STARTS,
) -> SuggestionBuild:
    """Verify candidates of the catalogue and of an LLM, and those of a log, and build their table.

    The searcher is over the catalogue, by words alone; counts (N,) are interactions per item;
    searches come by time; starts (N,) are Unix seconds from which
    an item could be seen, empty = unknown.
    """
    dropped = Counter[str]()
    logged = logged_queries(searches, config.min_users, dropped)
    merged = _merge(candidates, logged)
    shown = progress.track(merged, "suggested queries", len(merged))
    verified, results = verify_candidates(shown, searcher, config.unsafe_words, dropped)
    categories = Categories.of(catalogue, config.category)
    table = QueryTable.of(verified, catalogue, categories, ItemChoices.of(counts), results)
    known = CoSearches.of(searches, table.rows_by_key, config.min_users)
    if len(starts):
        starts = categories.find_starts(catalogue, starts)  # (C,)
    focus = table.find_focus(catalogue)
    table = replace(table, co_searches=known, category_starts=starts, focus=focus)
    titles = len({normalise(item.title) for item in catalogue.items} - {""})
    appeared = starts[np.isfinite(starts)]
    young = table.find_young(float(appeared.max(initial=0.0)))
    report = {
        "titles": titles,
        "candidates": dict(Counter(candidate.source for candidate in merged)),
        "dropped": dict(dropped),
        "queries": len(table),
        "by_source": dict(Counter(table.sources)),
        "by_kind": dict(Counter(table.kinds)),
        "category": categories.name,
        "pairs": known.pairs.nnz // 2,
        "ways_out": len(known.ways_out),
        "young_categories": {
            "names": [categories.values[number] for number in np.flatnonzero(young)],
            "largest_share_of_chips": config.young_share,
        },
    }
    return table, report


def _merge(candidates: Sequence[Candidate], logged: Sequence[Candidate]) -> list[Candidate]:
    """Merge candidates of the same query; users and searches are those of the log."""
    merged = {normalise(candidate.text): candidate for candidate in candidates[::-1]}
    for candidate in logged:
        same = merged.get(normalise(candidate.text), candidate)
        items = np.union1d(same.items, candidate.items).astype(np.int32)
        merged[normalise(candidate.text)] = replace(
            same, items=items, users=candidate.users, searches=candidate.searches
        )
    return list(merged.values())


def read_written_queries(workspace: Workspace, catalogue: Catalogue) -> list[Candidate]:
    """The LLM-written queries in use for items of a catalogue, unverified."""
    with closing(workspace.open_store()) as store:
        return to_candidates(store.generated.active("query"), catalogue)


def to_candidates(queries: Sequence[Generated], catalogue: Catalogue) -> list[Candidate]:
    """Candidates of the LLM-written queries whose items are in a catalogue."""
    numbers = catalogue.vocabulary.numbers([query.item_id for query in queries])
    return [
        Candidate(query.value, "written", "llm", np.array([number], np.int32))
        for query, number in zip(queries, numbers.tolist(), strict=True)
        if number >= 0
    ]


def hash_written_queries(workspace: Workspace) -> str:
    """SHA-256 of the LLM-written queries in use; empty without any."""
    with closing(workspace.open_store()) as store:
        rows = [(query.item_id, query.value) for query in store.generated.active("query")]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest() if rows else ""
