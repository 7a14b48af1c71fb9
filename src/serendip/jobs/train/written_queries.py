"""Queries that an LLM wrote for items, as training data, and the gate for their use.

``serendip llm run queries`` writes them. The ranker learns from them as ``written`` searches.
With ``[queries] training_weight`` the retriever learns from others of them (``suggestions.parts``),
beside logged queries and those from the fields of items: synthetic query generation (InPars,
Bonifacio et al. 2022).
Nobody has checked that such a query asks for its item, so a training that learns from them is
compared with the generation in force: no search may be shown to be worse, and what was not measured
does not pass; fewer than ``FEWEST`` are not learned from. Without the setting a training is the
same, bit by bit, as one that has no written queries for the retriever.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serendip.data.items.catalogue import Catalogue
from serendip.engine.workspace import Workspace
from serendip.evaluate.decision import Decision
from serendip.jobs.suggestions.build import read_written_queries
from serendip.jobs.suggestions.parts import part_of, select_unread
from serendip.jobs.surface_quality.record import QualityRecord, compare_surface, describe_change
from serendip.jobs.train.gates import open_record
from serendip.runtime.versions import Version
from serendip.search.suggestions.candidates import Candidate
from serendip.search.suggestions.config import QueriesConfig

MOST_QUERIES = 10_000
"""Largest number of queries that the retriever learns from."""

FEWEST = 100
"""Fewer queries teach the retriever their own words and nothing else."""

MANIFEST_KEY = "written_queries"

GATE = "no search is shown to be worse by written queries"


def select_for_ranker(
    workspace: Workspace | None, config: QueriesConfig, catalogue: Catalogue, count: int
) -> list[Candidate]:
    """Queries that the ranker may learn from: of more than ``count`` a sample, always the same.

    Where the retriever learns from such queries, only the ranker's part: scores of queries that the
    retriever was trained on say little about others.
    """
    queries = _read(workspace, config, catalogue)
    if config.training_weight > 0:
        queries = [query for query in queries if part_of(query.text) == "ranker"]
    return _sample(queries, count)


def select_for_retriever(
    workspace: Workspace | None, config: QueriesConfig, catalogue: Catalogue
) -> list[Candidate]:
    """Queries that the retriever learns from; none at the weight 0, or if they are few."""
    if config.training_weight == 0:
        return []
    queries = _read(workspace, config, catalogue)
    dealt = [query for query in queries if part_of(query.text) != "ranker"]
    return _sample(dealt, MOST_QUERIES) if len(dealt) >= FEWEST else []


def _read(
    workspace: Workspace | None, config: QueriesConfig, catalogue: Catalogue
) -> list[Candidate]:
    """Written queries, less those that the texts of their items contain."""
    if workspace is None or "llm" not in config.sources:
        return []
    return select_unread(read_written_queries(workspace, catalogue), catalogue)


def _sample(queries: Sequence[Candidate], count: int) -> list[Candidate]:
    """A random sample in the given order, always the same."""
    rows = np.random.default_rng(0).permutation(len(queries))[:count]
    return [queries[row] for row in np.sort(rows).tolist()]


def check_written_queries(
    count: int, record: QualityRecord | None, current: Version | None, searches: Sequence[str]
) -> list[Decision]:
    """Check that no search is shown to be worse than that of the generation in force.

    Unlike the gate of all surfaces, this one tolerates no margin, and it fails if nothing was
    measured: without a record of both, or if too few users have searched.

    Args:
        count: number of written queries that the retriever learned from.
        record: answers of this training; None = the data are too few for one.
        current: the generation in force; None = there is none.
        searches: names of the surfaces that search.

    Returns:
        one result, or none if the training learned from no written queries.
    """
    if not count:
        return []
    before = None if current is None else open_record(current)
    if record is None or before is None:
        changes = []
    else:
        found = [compare_surface(surface, record, before) for surface in searches]
        changes = [change for change in found if change is not None]
    detail = "; ".join(map(describe_change, changes)) or (
        "not measured: no generation in force has searches of enough users; train once with "
        "[queries] training_weight = 0"
    )
    passed = bool(changes) and all(change.on for change in changes)
    return [Decision.gate(GATE, passed, f"{count} queries; {detail}")]
