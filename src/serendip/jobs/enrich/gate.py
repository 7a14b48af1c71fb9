"""``serendip enrich gate``: decides whether generated texts are used.

The gate searches held-out queries without and with the texts. The texts become active if the 95 %
interval of the difference of nDCG@10 (bootstrap over queries) is above 0; otherwise no text is
active. The search has no trained parts: BM25 with the weights of the settings and cosines of the
text encoder, combined by reciprocal rank fusion over all items. Items without a label count as
irrelevant. A query that a text under test consists of, or contains as a phrase, is left out if such
texts are written queries: it would find its own words.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from serendip.data.arrays import FloatArray
from serendip.data.dataset import Dataset
from serendip.data.item_list import ItemList, top_k
from serendip.data.items.catalogue import Catalogue, Item
from serendip.data.store.tables.generated_texts import (
    GENERATED_SOURCES,
    GeneratedText,
    WrittenSource,
    fresh,
    with_generated,
)
from serendip.engine.workspace import Workspace
from serendip.errors import DataError
from serendip.evaluate.comparison import Comparison, compare_values
from serendip.evaluate.metrics.base import grade
from serendip.evaluate.metrics.ndcg import NDCG
from serendip.evaluate.runs import Values
from serendip.jobs.context import JobContext
from serendip.jobs.enrich.judged_queries import (
    JudgedQueries,
    collect_earlier_queries,
    cut_time,
    read_held_out_queries,
    read_judged,
)
from serendip.jobs.enrich.write import select_thin_items
from serendip.jobs.suggestions.parts import Phrases
from serendip.runtime.atomic_files import write_json
from serendip.runtime.scratch import scratch_folder
from serendip.search.lexical import LexicalConfig, LexicalIndex
from serendip.search.rank_fusion import reciprocal_rank_fusion

METRIC = NDCG(10)
_DEPTH = 300


@dataclass(frozen=True, slots=True, eq=False)
class HybridSearch:
    """Lexical and vector search over a catalogue.

    Args:
        items: N items.
        vectors: (N, C) unit vectors of their texts.
        config: fields and weights of BM25.
        is_pooled: see ``TextGate``.
    """

    items: Sequence[Item]
    vectors: FloatArray
    config: LexicalConfig
    is_pooled: bool = False

    def judged(self, queries: JudgedQueries, vectors: FloatArray) -> dict[str, Values]:
        """nDCG@10 (Q,) of BM25 (``words``) and of the fusion (``both``).

        Builds a lexical index and compares each query with all items; ``vectors`` (Q, C) are the
        queries' text vectors.
        """
        with scratch_folder() as folder:
            index = LexicalIndex.build(Catalogue(self.items), folder / "words", self.config)
        rows = [
            self._score(index, text, vector, gains)
            for text, vector, gains in zip(queries.texts, vectors, queries.gains, strict=True)
        ]
        values = np.array(rows, np.float64).reshape(-1, 2)
        return {"words": values[:, 0], "both": values[:, 1]}

    def _score(
        self, index: LexicalIndex, text: str, vector: FloatArray, gains: Mapping[int, float]
    ) -> tuple[float, float]:
        """nDCG@10 of one query, by BM25 and by the fusion."""
        words = index.search(text, _DEPTH)
        near = top_k(np.asarray(self.vectors @ vector, np.float32), _DEPTH)
        both = reciprocal_rank_fusion((words, near), len(self.items))
        return self._score_list(words, gains), self._score_list(both, gains)

    def _score_list(self, items: ItemList, gains: Mapping[int, float]) -> float:
        by_item: dict[Hashable, float] = dict(gains.items())
        listed = items.item_nums.tolist()
        kept = [number for number in listed if number in gains] if self.is_pooled else listed
        return METRIC.of_list(grade(kept, by_item))


MIN_QUERIES = 30
"""Minimum number of held-out queries."""

REPORT_FILE = "enrich.json"

Verdict = Literal["passed", "failed", "refused"]


@dataclass(frozen=True, slots=True)
class TextGate:
    """Texts and queries of a run of the gate.

    Args:
        sources: of the texts.
        judgements: file of labelled queries; None = the held-out queries of the log.
        is_pooled: whether items without a label are left out of the lists, instead of counting as
            irrelevant: where labels are of what search has found without the texts.
    """

    sources: Sequence[WrittenSource] = GENERATED_SOURCES
    judgements: Path | None = None
    is_pooled: bool = False


def gate_texts(context: JobContext, gate: TextGate) -> dict[str, Any]:
    """Run the gate, write ``reports/enrich.json`` and activate the texts, or none.

    Returns:
        verdict, reason, nDCG@10 without and with the texts, and the difference with its interval.

    Raises:
        DataError: there are no texts for the current items, or the file of judgements is broken.
        StorageError: the database cannot be written.
    """
    _, dataset = select_thin_items(context)
    items, workspace = dataset.catalogue.items, context.workspace
    with closing(workspace.open_store()) as store:
        current = fresh(items, store.generated_texts.all())
        texts = [text for text in current if text.source in gate.sources]
        if not texts:
            raise DataError(
                f"there are no texts by {' or '.join(gate.sources)} for the current items.",
                "Run `serendip enrich run` first.",
            )
        made_of_queries = Phrases(text.text for text in texts if text.source == "queries")
        queries = _read_queries(workspace, gate, dataset).without(made_of_queries)
        report: dict[str, Any] = {
            "sources": list(gate.sources),
            "texts": len(texts),
            "items": len({text.item_id for text in texts}),
            "queries": len(queries),
        }
        if len(queries) < MIN_QUERIES:
            reason = f"{len(queries)} held-out queries; {MIN_QUERIES} are needed"
            report |= {"verdict": "refused", "reason": reason}
        else:
            report |= _measure(context, items, texts, queries, gate.is_pooled)
        report["active"] = store.generated_texts.activate(
            texts if report["verdict"] == "passed" else []
        )
    write_json(workspace.reports / REPORT_FILE, report)
    return report


def _read_queries(workspace: Workspace, gate: TextGate, dataset: Dataset) -> JudgedQueries:
    """Queries of the file of judgements, or else held-out queries of the log."""
    cut = cut_time(dataset, min(workspace.settings.evaluation.cuts))
    if gate.judgements is None:
        return read_held_out_queries(dataset, cut)
    earlier = collect_earlier_queries(dataset, cut)
    return read_judged(gate.judgements, dataset.catalogue.vocabulary, earlier)


def _measure(
    context: JobContext,
    items: Sequence[Item],
    texts: Sequence[GeneratedText],
    queries: JudgedQueries,
    is_pooled: bool,
) -> dict[str, Any]:
    """nDCG@10 without and with the texts, their difference, and the verdict."""
    content, config = context.settings.content, context.settings.search.lexical

    def encode(texts: Sequence[str]) -> Any:
        return context.vectors.encode(context.encoder, texts, context.options.progress)

    ndcg = {}
    vectors = encode(queries.texts)
    for name, variant in (("without", items), ("with", with_generated(items, texts))):
        item_vectors = encode([item.encoder_text(content.fields) for item in variant])
        search = HybridSearch(variant, item_vectors, config, is_pooled)
        ndcg[name] = search.judged(queries, vectors)
    differences = {
        kind: compare_values((f"{kind} with", kind, METRIC.label), ndcg["with"][kind], values)
        for kind, values in ndcg["without"].items()
    }
    low = differences["both"].low
    passed = low is not None and low > 0
    verdict: Verdict = "passed" if passed else "failed"
    return {
        "verdict": verdict,
        "reason": "" if passed else "no improvement is shown",
        "metric": METRIC.label,
        **{
            name: {kind: float(values.mean()) for kind, values in by_kind.items()}
            for name, by_kind in ndcg.items()
        },
        "difference": {kind: _interval(comparison) for kind, comparison in differences.items()},
    }


def _interval(comparison: Comparison) -> dict[str, float | None]:
    return {"value": comparison.difference, "low": comparison.low, "high": comparison.high}
