"""Builds the table of suggested queries: candidates of the catalogue, the log and an LLM, verified.

``serendip train`` builds a table for every generation, of all queries that an LLM wrote, also those
that search does not find their items by now.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from serendip.data import Catalogue, IntArray, TimeArray
from serendip.data.events.search_log import Search
from serendip.data.items.starts import find_starts
from serendip.data.store.tables.generated import Generated
from serendip.data.text import normalise
from serendip.engine.workspace import Workspace
from serendip.jobs.context import JobContext
from serendip.runtime.progress import Progress
from serendip.runtime.scratch import scratch_folder
from serendip.search.searcher import Searcher
from serendip.search.suggestions.candidates import Candidate, catalogue_candidates, logged_queries
from serendip.search.suggestions.categories import Categories
from serendip.search.suggestions.checks import SuggestionVerifier
from serendip.search.suggestions.co_searches import CoSearches
from serendip.search.suggestions.config import QueriesConfig
from serendip.search.suggestions.table import QueryTable

UNKNOWN_STARTS: TimeArray = np.empty(0)


@dataclass(frozen=True, slots=True, eq=False)
class SuggestionBuild:
    """A table of suggested queries and its report.

    Args:
        table: verified queries.
        report: number of candidates and queries by source, of dropped candidates by test.
    """

    table: QueryTable
    report: Mapping[str, Any]


class SuggestionBuilder:
    """Builds tables for one catalogue; whatever does not depend on a log is computed once.

    Args:
        catalogue: N items.
        candidates: of the catalogue and of an LLM.
        verifier: of candidates, over the catalogue.
        config: sources, tests and limits.
        starts: (N,) Unix seconds from which each item could be seen; empty = unknown.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        candidates: Sequence[Candidate],
        verifier: SuggestionVerifier,
        config: QueriesConfig,
        starts: TimeArray = UNKNOWN_STARTS,
    ) -> None:
        self._catalogue, self._config = catalogue, config
        self._candidates, self._verifier = candidates, verifier
        self._categories = Categories.of(catalogue, config.category)
        self._starts = starts
        if len(starts):
            self._starts = self._categories.find_starts(catalogue, starts)

    @classmethod
    def of(
        cls,
        catalogue: Catalogue,
        counts: IntArray,
        searcher: Searcher,
        config: QueriesConfig,
        written: Sequence[Candidate] = (),
        starts: TimeArray = UNKNOWN_STARTS,
    ) -> Self:
        """Find the candidates of a catalogue.

        Args:
            catalogue: N items.
            counts: (N,) interactions per item.
            searcher: over the catalogue.
            config: sources, tests and limits.
            written: candidates written by an LLM.
            starts: see the class.
        """
        candidates = catalogue_candidates(catalogue, counts.astype(np.float32), config)
        if "llm" in config.sources:
            candidates += written
        return cls(catalogue, candidates, SuggestionVerifier(searcher, config), config, starts)

    def build(
        self,
        searches: Sequence[Search],
        progress: Progress,
    ) -> SuggestionBuild:
        """Build the table for a log.

        Args:
            searches: by time.
            progress: of the verification.
        """
        logged = logged_queries(searches, self._config.min_users)
        from_log = logged.candidates if "logs" in self._config.sources else []
        candidates = _merge(self._candidates, from_log)
        shown = progress.track(candidates, "suggested queries", len(candidates))
        verified = self._verifier.verify(shown)
        table = QueryTable.of(
            verified.candidates,
            verified.results,
            self._catalogue,
            self._categories,
        )
        known = CoSearches.of(searches, table.rows_by_key, self._config.min_users)
        focus = table.find_focus(self._catalogue)
        table = replace(table, co_searches=known, category_starts=self._starts, focus=focus)
        titles = len({normalise(item.title) for item in self._catalogue.items} - {""})
        report = {
            "titles": titles if "fields" in self._config.sources else 0,
            "candidates": dict(Counter(candidate.source for candidate in candidates)),
            "dropped": {**logged.dropped, **verified.dropped},
            "queries": len(table),
            "by_source": dict(Counter(table.sources)),
            "by_kind": dict(Counter(table.kinds)),
            "category": self._categories.name,
            "pairs": known.pairs.nnz // 2,
            "ways_out": len(known.ways_out),
            "young_categories": self._describe_young(table),
        }
        return SuggestionBuild(table, report)

    def _describe_young(self, table: QueryTable) -> dict[str, Any]:
        """The categories that are young at the time of the newest start, and the bound of chips."""
        known = self._starts[np.isfinite(self._starts)]
        days, values = self._config.young_days, table.categories.values
        young = table.find_young(float(known.max()), days) if len(known) else np.empty(0, np.bool_)
        names = [values[number] for number in np.flatnonzero(young)]
        return {"names": names, "largest_share_of_chips": self._config.young_share}


def build_suggestions(
    context: JobContext, searcher: Searcher, written: Sequence[Candidate]
) -> SuggestionBuild:
    """Build suggested queries.

    Args:
        context: items, log and settings.
        searcher: over the items, by words alone.
        written: candidates written by an LLM.
    """
    dataset, config = context.log.dataset, context.settings.queries
    builder = SuggestionBuilder.of(
        *(dataset.catalogue, dataset.item_counts(), searcher, config, written),
        starts=find_starts(dataset),
    )
    return builder.build(context.log.searches, context.options.progress)


def compute_queries(context: JobContext, written: Sequence[Candidate] = ()) -> SuggestionBuild:
    """Build suggested queries on a word index of their own; see ``build_suggestions``.

    Raises:
        DataError: the catalogue is empty.
    """
    dataset = context.log.dataset
    popularity = dataset.item_counts().astype(np.float32)
    with scratch_folder() as scratch:
        folder, config = scratch / "search", context.settings.search
        searcher = Searcher.build(dataset.catalogue, popularity, folder, config)
        return build_suggestions(context, searcher, written)


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


def _merge(candidates: Sequence[Candidate], logged: Sequence[Candidate]) -> list[Candidate]:
    """Merge candidates of the same query; users and searches are those of the log."""
    merged = {normalise(candidate.text): candidate for candidate in candidates[::-1]}
    for candidate in logged:
        key = normalise(candidate.text)
        same = merged.get(key)
        if same is None:
            merged[key] = candidate
        else:
            items = np.union1d(same.items, candidate.items).astype(np.int32)
            users, searches = candidate.users, candidate.searches
            merged[key] = Candidate(same.text, same.kind, same.source, items, users, searches)
    return list(merged.values())
