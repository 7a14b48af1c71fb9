"""From a catalogue and a log to verified queries, and how many fell to which test.

``serendip train`` does it for every generation; ``serendip queries build`` does it without
training, to look at, and keeps what an LLM wrote for the trainings to come.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from serendip.data.arrays import IntArray
from serendip.data.item import Catalogue
from serendip.data.privacy import is_publishable
from serendip.data.search_log import Search
from serendip.data.text import normalise
from serendip.engine.workspace import Workspace
from serendip.jobs.context import JobContext
from serendip.runtime.atomic_files import exclusive_lock
from serendip.runtime.progress import Progress
from serendip.runtime.versions import Versions
from serendip.search.searcher import Searcher
from serendip.search.suggestions.candidates import Candidate, catalogue_candidates, logged_queries
from serendip.search.suggestions.checks import SuggestionVerifier
from serendip.search.suggestions.config import QueriesConfig
from serendip.search.suggestions.table import Categories, QueryTable

_TABLE_FOLDER, _WRITTEN_FILE = "table", "written.json"


@dataclass(frozen=True, slots=True, eq=False)
class BuiltQueries:
    """What came of it.

    Args:
        table: verified queries.
        report: candidates and kept ones by source, dropped ones by test.
    """

    table: QueryTable
    report: Mapping[str, Any]


class SuggestionBuilder:
    """Builds tables over one catalogue; what does not depend on a log is made once.

    Args:
        catalogue: the items.
        counts: (N,) interactions per item.
        searcher: of the catalogue.
        config: sources, tests and limits.
        written: by an LLM.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        counts: IntArray,
        searcher: Searcher,
        config: QueriesConfig,
        written: Sequence[Candidate] = (),
    ) -> None:
        self._catalogue, self._config = catalogue, config
        self._known = catalogue_candidates(catalogue, counts.astype(np.float32), config)
        self._written = [*written] if "llm" in config.sources else []
        self._verifier = SuggestionVerifier(searcher, config)
        self._categories = Categories.of(catalogue, config.category)

    def build(self, searches: Sequence[Search], progress: Progress) -> BuiltQueries:
        """The table as of a log.

        Args:
            searches: in order of time.
            progress: follows the tests.
        """
        logged = logged_queries(searches, self._config.min_users)
        asked = logged.candidates if "logs" in self._config.sources else []
        candidates = _joined([*self._known, *self._written], asked)
        verified = self._verifier.verify(candidates, progress)
        table = QueryTable.of(
            verified.candidates,
            verified.results,
            self._catalogue,
            self._categories,
        )
        titles = len({normalise(item.title) for item in self._catalogue.items} - {""})
        report = {
            "titles": titles if "fields" in self._config.sources else 0,
            "candidates": dict(Counter(one.source for one in candidates)),
            "dropped": {**logged.dropped, **verified.dropped},
            "queries": len(table),
            "by_source": dict(Counter(table.sources)),
            "by_kind": dict(Counter(table.kinds)),
            "category": self._categories.name,
        }
        return BuiltQueries(table, report)


def build_queries(
    context: JobContext, written: Mapping[str, str] = MappingProxyType({})
) -> tuple[str, BuiltQueries]:
    """Build suggested queries and publish them as a version of the workspace.

    Args:
        context: items, log and settings.
        written: by an LLM, beside those of the current version: text -> id of the item meant.

    Returns:
        name of the version, and its content.

    Raises:
        ArtefactError: a file of the current version is missing or altered.
        DataError: the catalogue is empty.
        StorageError: another process builds there now.
    """
    workspace = context.workspace
    with exclusive_lock(workspace.queries):
        texts = {**_written_texts(workspace), **written}
        candidates = _written_candidates(texts, context.log.dataset.catalogue)
        built = queries_of(context, candidates)
        return _publish(workspace, built, texts), built


def queries_of(context: JobContext, written: Sequence[Candidate] = ()) -> BuiltQueries:
    """Build suggested queries without publishing them.

    Args:
        context: items, log and settings.
        written: by an LLM.

    Raises:
        DataError: the catalogue is empty.
    """
    log, settings = context.log, context.settings
    catalogue, counts = log.dataset.catalogue, log.dataset.item_counts()
    popularity = counts.astype(np.float32)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "search"
        searcher = Searcher.build(catalogue, popularity, folder, settings.search)
        builder = SuggestionBuilder(catalogue, counts, searcher, settings.queries, written)
        return builder.build(log.searches, context.options.progress)


def written_queries(workspace: Workspace, catalogue: Catalogue) -> list[Candidate]:
    """All that an LLM wrote, of the current version, for items that are there; not verified.

    Raises:
        ArtefactError: a file of the version is missing or altered.
    """
    return _written_candidates(_written_texts(workspace), catalogue)


def _written_texts(workspace: Workspace) -> dict[str, str]:
    """Text -> id of the item meant."""
    version = _versions(workspace).current()
    if version is None:
        return {}
    rows = json.loads((version.folder / _WRITTEN_FILE).read_text(encoding="utf-8"))
    # What older versions kept was not looked at as closely.
    return {row["text"]: row["item_id"] for row in rows if is_publishable(row["text"])}


def _written_candidates(texts: Mapping[str, str], catalogue: Catalogue) -> list[Candidate]:
    numbers = catalogue.vocabulary.numbers(texts.values())
    return [
        Candidate(text, "written", "llm", np.array([number], np.int32))
        for text, number in zip(texts, numbers.tolist(), strict=True)
        if number >= 0
    ]


def written_digest(workspace: Workspace) -> str:
    """SHA-256 of the queries that an LLM wrote for the current version; empty for none."""
    name = _versions(workspace).current_name()
    path = workspace.queries / name / _WRITTEN_FILE
    return hashlib.sha256(path.read_bytes()).hexdigest() if name and path.is_file() else ""


def _joined(known: Sequence[Candidate], asked: Sequence[Candidate]) -> list[Candidate]:
    """Each query once: what was searched tells who did, what was made of fields tells the items."""
    found = {normalise(one.text): one for one in known[::-1]}
    for one in asked:
        same = found.get(one_key := normalise(one.text))
        if same is None:
            found[one_key] = one
        else:
            items = np.union1d(same.items, one.items).astype(np.int32)
            found[one_key] = Candidate(
                same.text, same.kind, same.source, items, one.users, one.searches
            )
    return list(found.values())


def _publish(workspace: Workspace, built: BuiltQueries, written: Mapping[str, str]) -> str:
    """A new version, current from the moment when it is complete.

    It keeps all that was written: what does not pass today may pass with other items.
    """

    def write(building: Path) -> None:
        built.table.save(building / _TABLE_FOLDER)
        rows = [{"text": text, "item_id": item_id} for text, item_id in written.items()]
        document = json.dumps(rows, ensure_ascii=False, indent=0)
        (building / _WRITTEN_FILE).write_text(document, encoding="utf-8")

    versions = _versions(workspace)
    facts = {"previous": versions.known_name(), "report": built.report}
    return versions.publish(write, facts).name


def _versions(workspace: Workspace) -> Versions:
    again = f"Delete {workspace.queries / 'current'} and run `serendip queries build --llm` again."
    return Versions(workspace.queries, f"{again} What was paid for costs nothing.", format=1)
