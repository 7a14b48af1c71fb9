"""Tests candidate suggestions in tasks of an executor, each against a word index in files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from serendip.data.arrays import FloatArray
from serendip.data.items.catalogue import Catalogue, open_catalogue, save_catalogue
from serendip.data.rows.strings import map_array
from serendip.runtime.executor import Executor
from serendip.search.config import SearchConfig
from serendip.search.searcher import Searcher
from serendip.search.suggestions.candidates import Candidate
from serendip.search.suggestions.checks import CandidateCheck, SuggestionVerifier
from serendip.search.suggestions.config import QueriesConfig

CANDIDATES_PER_TASK = 8_192
"""Some seconds of searches, several times what starting a process and opening an index takes."""

SEARCH_FOLDER = "search"
"""Folder with the word index, inside that of the tasks."""

_POPULARITY = "popularity.npy"


@dataclass(frozen=True, slots=True)
class CheckTask:
    """Candidates of one task.

    Args:
        folder: has the catalogue, its popularity and its word index.
        search: settings of the index.
        queries: thresholds and unsafe words.
        candidates: to test.
    """

    folder: str
    search: SearchConfig
    queries: QueriesConfig
    candidates: tuple[Candidate, ...]

    def __str__(self) -> str:
        return f"the tests of {len(self.candidates):,} suggestions"


@dataclass(frozen=True, slots=True, eq=False)
class CheckTasks:
    """Tests candidates of one catalogue by tasks.

    Args:
        catalogue: N items.
        popularity: (N,) interactions per item.
        search: settings of the index.
        queries: thresholds and unsafe words.
        folder: that all workers see; has the word index in ``SEARCH_FOLDER``.
        executor: that runs them.
    """

    catalogue: Catalogue
    popularity: FloatArray
    search: SearchConfig
    queries: QueriesConfig
    folder: Path
    executor: Executor

    def are_few(self, candidates: Sequence[Candidate]) -> bool:
        """Whether they are one task, which is not worth another process."""
        return len(candidates) <= CANDIDATES_PER_TASK

    def check(self, candidates: Sequence[Candidate]) -> Iterator[CandidateCheck]:
        """Test each candidate alone, in their order.

        What tasks read is written beside the word index first.

        Raises:
            SerendipError: a task was killed.
        """
        save_catalogue(self.catalogue, self.folder)
        np.save(self.folder / _POPULARITY, self.popularity, allow_pickle=False)
        places = str(self.folder), self.search, self.queries
        tasks = [
            CheckTask(*places, tuple(candidates[begin : begin + CANDIDATES_PER_TASK]))
            for begin in range(0, len(candidates), CANDIDATES_PER_TASK)
        ]
        for checks in self.executor.map(check_candidates, tasks):
            yield from checks


def check_candidates(task: CheckTask) -> list[CandidateCheck]:
    """Test the candidates of a task."""
    searcher = _open_once(task.folder, task.search.model_dump_json())
    verifier = SuggestionVerifier(searcher, task.queries)
    return [verifier.check(candidate) for candidate in task.candidates]


@lru_cache(maxsize=1)
def _open_once(folder: str, search: str) -> Searcher:
    path, config = Path(folder), SearchConfig.model_validate_json(search)
    popularity = map_array(path / _POPULARITY)
    return Searcher.open(path / SEARCH_FOLDER, open_catalogue(path), popularity, config)
