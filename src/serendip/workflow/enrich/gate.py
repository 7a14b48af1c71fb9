"""``serendip enrich gate``: does what was written help to find items? Only then it is used.

Held-out queries are asked twice, without and with the texts, of words and vectors fused by rank.
Texts become active if the lower end of the 95 % interval of the difference, which draws whole
queries, is above 0; in every other case no text is active. Nothing is chosen here: weights are
those of the settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from serendip.content.cache import VectorCache
from serendip.content.encoders.text import open_encoder
from serendip.data.dataset import Dataset
from serendip.data.item import Item
from serendip.data.store.generated_texts import (
    WRITTEN_SOURCES,
    WrittenSource,
    WrittenText,
    fresh,
    with_written,
)
from serendip.engine.workspace import Workspace
from serendip.errors import DataError
from serendip.evaluate.comparison import Comparison, compare_values
from serendip.scale.progress import Progress
from serendip.workflow.bench.files import write_document
from serendip.workflow.enrich.asked import (
    JudgedQueries,
    cut_time,
    held_out_queries,
    read_judged,
    typed_before,
)
from serendip.workflow.enrich.retrieval import METRIC, Finder
from serendip.workflow.enrich.writing import thin_items

FEWEST_QUERIES = 30
"""Held-out queries that are needed."""

REPORT_FILE = "enrich.json"

Verdict = Literal["passed", "failed", "refused"]


@dataclass(frozen=True, slots=True)
class TextGate:
    """What is asked.

    Args:
        sources: whose texts.
        judgements: file of judged queries; None = those of the log that were typed last.
    """

    sources: Sequence[WrittenSource] = WRITTEN_SOURCES
    judgements: Path | None = None


def gate_texts(workspace: Workspace, gate: TextGate, progress: Progress) -> dict[str, Any]:
    """Measure, say so in ``reports/enrich.json``, and use the texts or none.

    Returns:
        verdict, reason, nDCG@10 without and with the texts, and the difference with its interval.

    Raises:
        DataError: nothing fresh was written, or the judgements are broken.
        StorageError: the database takes no rows.
    """
    _, dataset = thin_items(workspace)
    items = dataset.catalogue.items
    with closing(workspace.open_store()) as store:
        texts = [one for one in fresh(items, store.written.all()) if one.source in gate.sources]
        if not texts:
            raise DataError(
                f"nothing was written by {' or '.join(gate.sources)} about items as they are now.",
                "Run `serendip enrich run` first.",
            )
        queries = _queries(workspace, gate, dataset)
        told: dict[str, Any] = {
            "sources": list(gate.sources),
            "texts": len(texts),
            "items": len({one.item_id for one in texts}),
            "queries": len(queries),
        }
        if len(queries) < FEWEST_QUERIES:
            reason = f"{len(queries)} held-out queries; {FEWEST_QUERIES} are needed"
            told |= {"verdict": "refused", "reason": reason}
        else:
            told |= _measured(workspace, items, texts, queries, progress)
        told["active"] = store.written.activate(texts if told["verdict"] == "passed" else [])
    write_document(workspace.reports / REPORT_FILE, told)
    return told


def _queries(workspace: Workspace, gate: TextGate, dataset: Dataset) -> JudgedQueries:
    cut = cut_time(dataset, min(workspace.settings.evaluation.cuts))
    if gate.judgements is None:
        return held_out_queries(dataset, cut)
    unless = typed_before(dataset, cut)
    return read_judged(gate.judgements, dataset.catalogue.vocabulary, unless)


def _measured(
    workspace: Workspace,
    items: Sequence[Item],
    texts: Sequence[WrittenText],
    queries: JudgedQueries,
    progress: Progress,
) -> dict[str, Any]:
    content, config = workspace.settings.content, workspace.settings.search.lexical
    encoder, cache = open_encoder(content), VectorCache(workspace.cache)

    def encode(asked: Sequence[str]) -> Any:
        return cache.encode(encoder, asked, progress)

    found = {}
    vectors = encode(queries.texts)
    for name, known in (("without", items), ("with", with_written(items, texts))):
        finder = Finder(known, encode([item.text(content.fields) for item in known]), config)
        found[name] = finder.judged(queries, vectors)
    differences = {
        kind: compare_values((f"{kind} with", kind, METRIC.label), found["with"][kind], values)
        for kind, values in found["without"].items()
    }
    whole = differences["both"]
    passed = whole.low is not None and whole.low > 0
    verdict: Verdict = "passed" if passed else "failed"
    return {
        "verdict": verdict,
        "reason": "" if passed else "no improvement is shown",
        "metric": METRIC.label,
        **{
            name: {kind: float(values.mean()) for kind, values in one.items()}
            for name, one in found.items()
        },
        "difference": {kind: _ends(one) for kind, one in differences.items()},
    }


def _ends(found: Comparison) -> dict[str, float | None]:
    return {"value": found.difference, "low": found.low, "high": found.high}
