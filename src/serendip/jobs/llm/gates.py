"""Gates: whether what was written about items is used, each by one ``Decision``.

Texts: queries are searched without and with them. They become active if the 95 % interval of the
difference of nDCG@10 is above 0. The search has no trained parts: BM25 with the weights of the
settings and cosines of the text encoder, combined by reciprocal rank fusion over all items. Queries
are logged ones first typed after the first cut (``_CUT``), or labelled ones; items that were not
chosen, or have no label, count as irrelevant.

Values: for items that have a value, which was hidden from the generator, it is compared with the
generated one. The values of the other items become active if the lower end of the 95 % interval of
the share that is right is above a floor. That says nothing of items without a value that are of
another kind than those with one, such as accessories that name the brand they fit.

Queries: they become active, all of them, if search finds the items of some by them.

``serendip llm show`` and ``revert`` show what was written about items, and remove it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serendip.data import Catalogue, Item
from serendip.data.item_list import top_k
from serendip.data.store.tables.generated import (
    Generated,
    Kind,
    fresh,
    lacks,
    list_values,
    with_generated,
)
from serendip.data.text import normalise
from serendip.engine.workspace import Workspace
from serendip.errors import DataError
from serendip.evaluate.decision import Decision, choose
from serendip.evaluate.intervals import estimate
from serendip.evaluate.metrics import NDCG, grade
from serendip.evaluate.runs import Values
from serendip.jobs.context import JobContext
from serendip.jobs.labels.pair_files import JudgedQueries, read_judged_queries, with_gain
from serendip.jobs.llm.job import read_original
from serendip.jobs.suggestions.build import compute_queries, to_candidates
from serendip.runtime.atomic_files import scratch_folder
from serendip.search.lexical import LexicalIndex
from serendip.search.rank_fusion import reciprocal_rank_fusion

METRIC = NDCG(10)
MIN_QUERIES = 30
_CUT, _DEPTH = 0.7, 300
"""Share of the events before the cut, and length of the lists that are fused."""

MIN_COMPARED = 30
"""Minimum number of items with a value of their own and a generated one."""

FLOOR = 0.9
"""Lowest share of right values."""

_EXAMPLES = 5


@dataclass(frozen=True, slots=True, eq=False)
class WritingVerdict:
    """What a gate said.

    Args:
        active: rows in use after it.
        facts: figures for reports.
        examples: suggested queries that were written; empty = others were tested.
    """

    decision: Decision
    active: int
    facts: Mapping[str, Any]
    examples: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """For reports."""
        verdict = {"verdict": self.decision.verdict, "active": self.active}
        return {**asdict(self.decision), **verdict, **self.facts}


def _close(
    context: JobContext,
    part: tuple[Kind, str | None],
    rows: Sequence[Generated],
    decision: Decision,
    facts: Mapping[str, Any],
    examples: Sequence[str] = (),
) -> WritingVerdict:
    with context.workspace.open_store() as store:
        store.generated.activate(rows if decision.on else (), *part)
        return WritingVerdict(decision, len(store.generated.active(*part)), facts, examples)


def gate_queries(context: JobContext) -> WritingVerdict:
    """Test whether search finds the items of written queries, and activate them, or none.

    Raises:
        DataError: there are no queries for the current items.
        StorageError: the database cannot be written.
    """
    with context.workspace.open_store() as store:
        rows = store.generated.rows("query")
    written = to_candidates(rows, context.query_log.dataset.catalogue)
    if not written:
        raise _nothing_to_test("queries", "queries")
    table = compute_queries(context, written)[0]
    texts = [
        text for text, source in zip(table.texts, table.sources, strict=True) if source == "llm"
    ]
    finds = np.arange(len(written)) < len(texts)
    name = "written queries that find their item"
    found = estimate(finds.astype(np.float64))
    decision = Decision.of(name, found, 0.0, "search finds hardly an item by them")
    facts = {"queries": len(written), "found": len(texts)}
    return _close(context, ("query", None), rows, decision, facts, texts[:_EXAMPLES])


def _nothing_to_test(what: str, kind: str) -> DataError:
    return DataError(
        f"there are no {what} for the current items.",
        f"Run `serendip llm run {kind}` first; it may have found none.",
    )


def gate_texts(
    context: JobContext, labels: Path | None = None, is_pooled: bool = False
) -> WritingVerdict:
    """Test whether search is better with the texts, and activate them, or none.

    Without a file of labels, by logged queries. With ``is_pooled`` items without a label are left
    out of the lists: where labels are of what search has found without the texts.

    Raises:
        DataError: there are no texts for the current items, or the file of labels is broken.
        StorageError: the database cannot be written.
    """
    catalogue = read_original(context).catalogue
    items, vocabulary = catalogue.items, catalogue.vocabulary
    with context.workspace.open_store() as store:
        texts = fresh(items, store.generated.rows("text"))
    if not texts:
        raise _nothing_to_test("texts", "texts")
    judged = _hold_out(context) if labels is None else read_judged_queries(labels, vocabulary)
    queries = with_gain(judged)
    name = f"search by generated texts ({METRIC.label})"
    if len(queries) < MIN_QUERIES:
        reason = f"{len(queries)} held-out queries; {MIN_QUERIES} are needed"
        decision = Decision(name, False, reason=reason)
    else:
        variants = items, with_generated(items, texts)
        without, with_ = (_search(context, one, queries, is_pooled) for one in variants)
        decision = choose(name, without, with_)
    written = {"texts": len(texts), "items": len({text.item_id for text in texts})}
    facts = {**written, "queries": len(queries)}
    return _close(context, ("text", None), texts, decision, facts)


def _hold_out(context: JobContext) -> JudgedQueries:
    times, searches = context.dataset.events.timestamps, context.query_log.searches
    cut = times[int(_CUT * len(times))] if len(times) else 0.0
    earlier = {search.key for search in searches if search.timestamp < cut}
    chosen: dict[str, dict[int, float]] = {}
    for search in searches:
        if search.key not in earlier:
            chosen.setdefault(search.key, {}).update(dict.fromkeys(search.chosen.tolist(), 1.0))
    return chosen


def _search(
    context: JobContext, items: Sequence[Item], queries: JudgedQueries, is_pooled: bool
) -> Values:
    """The metric (Q,) of the fusion of BM25 and text vectors over all items."""
    settings, progress = context.settings, context.options.progress
    texts = [item.encoder_text(settings.content.fields) for item in items]
    vectors, asked = (  # (N, C), (Q, C)
        context.vectors.encode(context.encoder, some, progress) for some in (texts, list(queries))
    )
    with scratch_folder() as folder:  # open files can be read after deletion
        index = LexicalIndex.build(Catalogue(items), folder / "words", settings.search.fields)
    values = []
    for (text, gains), vector in zip(queries.items(), asked, strict=True):
        near = top_k(np.asarray(vectors @ vector, np.float32), _DEPTH)
        found = reciprocal_rank_fusion((index.search(text, _DEPTH), near), len(items))
        listed = found.item_nums.tolist()
        kept = [number for number in listed if number in gains] if is_pooled else listed
        values.append(METRIC.of_list(grade(kept, dict[Hashable, float](gains.items()))))
    return np.array(values)


def gate_values(context: JobContext, attribute: str) -> WritingVerdict:
    """Test whether values of an attribute are right, and activate them, or none.

    Raises:
        DataError: there are no values of the attribute for the current items.
        StorageError: the database cannot be written.
    """
    items = read_original(context).catalogue.items
    by_id = {item.item_id: item for item in items}
    with context.workspace.open_store() as store:
        values = fresh(items, store.generated.rows("value", attribute))
    if not values:
        raise _nothing_to_test(f"generated values of {attribute!r}", "attribute")
    missing = [value for value in values if lacks(by_id[value.item_id], attribute)]
    right = [  # case does not count
        normalise(value.value)
        in {normalise(own) for own in list_values(by_id[value.item_id], value.name)}
        for value in values
        if not lacks(by_id[value.item_id], value.name)
    ]
    decision = judge_values(attribute, right)
    return _close(context, ("value", attribute), missing, decision, {"values": len(missing)})


def judge_values(attribute: str, right: Sequence[bool]) -> Decision:
    """The decision about values of which it is known whether they are right."""
    name = f"right values of {attribute}"
    if len(right) < MIN_COMPARED:
        reason = f"{len(right)} items to compare; {MIN_COMPARED} are needed"
        return Decision(name, False, reason=reason)
    return Decision.of(name, estimate(np.array(right, np.float64)), FLOOR, "too many are wrong")


def revert_generated(
    workspace: Workspace, kind: Kind | None = None, name: str | None = None
) -> int:
    """Delete what was written about items, of a kind and name, and return the number of rows.

    None = all. LLM answers stay in the ledger, so that writing them again costs nothing.
    """
    with workspace.open_store() as store:
        return store.generated.remove(kind, name)


def describe_generated(workspace: Workspace, limit: int) -> dict[str, Any]:
    """Count what was written about items, and list the first rows of each kind with their origin.

    Values of items that lack them come first.
    """
    with workspace.open_store() as store:
        items, rows = store.items(), store.generated.rows()
    own, current = {item.item_id: item for item in items}, set(fresh(items, rows))
    rows.sort(
        key=lambda row: (
            row.kind == "value" and row.item_id in own and not lacks(own[row.item_id], row.name)
        )
    )
    groups = {row: (row.kind, "" if row.kind == "query" else row.name, row.source) for row in rows}
    written, used, listed = Counter(groups.values()), Counter[tuple[str, ...]](), []
    seen: Counter[str] = Counter()
    for row, group in groups.items():
        used[group] += row.active and row in current
        seen[row.kind] += 1
        if seen[row.kind] <= limit:
            listed.append({**asdict(row), "outdated": row not in current})
    return {
        "counts": [
            {"kind": kind, "name": name, "source": source, "rows": count, "active": used[key]}
            for key, count in sorted(written.items())
            for kind, name, source in [key]
        ],
        "outdated": len(rows) - len(current),
        "listed": listed,
    }
