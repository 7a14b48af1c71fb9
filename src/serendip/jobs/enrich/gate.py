"""``serendip enrich gate``: does what was written help to find items? Only then it is used.

Held-out queries are asked twice, without and with the texts, of words and vectors fused by rank.
Texts become active if the lower end of the 95 % interval of the difference, which draws whole
queries, is above 0; in every other case no text is active. Nothing is chosen here: weights are
those of the settings.

``serendip enrich revert`` and ``show``: texts out again, and what there is of them.

How well items are found: by words, and by words and vectors, without anything learned.

Words are BM25 with the weights of the settings, vectors are cosines of the text encoder; both are
fused by rank, as search does. Everything is found among all items; what nobody judged counts 0.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from serendip.data.arrays import FloatArray
from serendip.data.dataset import Dataset
from serendip.data.item import Catalogue, Item
from serendip.data.item_list import ItemList, top_k
from serendip.data.store.generated_texts import (
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
    cut_time,
    held_out_queries,
    read_judged,
    typed_before,
)
from serendip.jobs.enrich.write import thin_items
from serendip.runtime.atomic_files import write_json
from serendip.search.lexical import LexicalConfig, LexicalIndex
from serendip.search.rank_fusion import reciprocal_rank_fusion

METRIC = NDCG(10)
_DEPTH = 300


@dataclass(frozen=True, slots=True, eq=False)
class Finder:
    """Search over a catalogue.

    Args:
        items: N.
        vectors: (N, C) unit vectors of their texts.
        config: fields and weights of the words.
    """

    items: Sequence[Item]
    vectors: FloatArray
    config: LexicalConfig

    def judged(self, queries: JudgedQueries, vectors: FloatArray) -> dict[str, Values]:
        """nDCG@10 (Q,) by ``words`` and by ``both``; ``vectors`` (Q, C) are those of the queries.

        Complexity: a word index is built, and each query is compared with all items.
        """
        with tempfile.TemporaryDirectory() as folder:
            index = LexicalIndex.build(Catalogue(self.items), Path(folder) / "words", self.config)
        rows = [
            self._row(index, text, vector, gains)
            for text, vector, gains in zip(queries.texts, vectors, queries.gains, strict=True)
        ]
        values = np.array(rows, np.float64).reshape(-1, 2)
        return {"words": values[:, 0], "both": values[:, 1]}

    def _row(
        self, index: LexicalIndex, text: str, vector: FloatArray, gains: Mapping[int, float]
    ) -> tuple[float, float]:
        words = index.search(text, _DEPTH)
        near = top_k(np.asarray(self.vectors @ vector, np.float32), _DEPTH)
        both = reciprocal_rank_fusion((words, near), len(self.items))
        return _value(words, gains), _value(both, gains)


def _value(found: ItemList, gains: Mapping[int, float]) -> float:
    by_item: dict[Hashable, float] = dict(gains.items())
    return METRIC.of_list(grade(found.item_nums.tolist(), by_item))


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

    sources: Sequence[WrittenSource] = GENERATED_SOURCES
    judgements: Path | None = None


def gate_texts(context: JobContext, gate: TextGate) -> dict[str, Any]:
    """Measure, say so in ``reports/enrich.json``, and use the texts or none.

    Returns:
        verdict, reason, nDCG@10 without and with the texts, and the difference with its interval.

    Raises:
        DataError: nothing fresh was written, or the judgements are broken.
        StorageError: the database takes no rows.
    """
    _, dataset = thin_items(context)
    items, workspace = dataset.catalogue.items, context.workspace
    with closing(workspace.open_store()) as store:
        texts = [
            one for one in fresh(items, store.generated_texts.all()) if one.source in gate.sources
        ]
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
            told |= _measured(context, items, texts, queries)
        told["active"] = store.generated_texts.activate(
            texts if told["verdict"] == "passed" else []
        )
    write_json(workspace.reports / REPORT_FILE, told)
    return told


def _queries(workspace: Workspace, gate: TextGate, dataset: Dataset) -> JudgedQueries:
    cut = cut_time(dataset, min(workspace.settings.evaluation.cuts))
    if gate.judgements is None:
        return held_out_queries(dataset, cut)
    unless = typed_before(dataset, cut)
    return read_judged(gate.judgements, dataset.catalogue.vocabulary, unless)


def _measured(
    context: JobContext,
    items: Sequence[Item],
    texts: Sequence[GeneratedText],
    queries: JudgedQueries,
) -> dict[str, Any]:
    content, config = context.settings.content, context.settings.search.lexical

    def encode(asked: Sequence[str]) -> Any:
        return context.vectors.encode(context.encoder, asked, context.options.progress)

    found = {}
    vectors = encode(queries.texts)
    for name, known in (("without", items), ("with", with_generated(items, texts))):
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


def revert_texts(workspace: Workspace) -> int:
    """Take out every text and the gate's verdict; the next training is as if there had been none.

    Answers that an LLM was paid for stay in the ledger: writing them again costs nothing.

    Returns:
        number of texts that were taken out.
    """
    with closing(workspace.open_store()) as store:
        removed = store.generated_texts.remove_all()
    (workspace.reports / REPORT_FILE).unlink(missing_ok=True)
    return removed


def describe_texts(workspace: Workspace, limit: int) -> dict[str, Any]:
    """Counts by source and field, the last verdict, and the first texts with their origin.

    Args:
        workspace: whose texts.
        limit: most texts that are listed.
    """
    with closing(workspace.open_store()) as store:
        items, texts = store.items(), store.generated_texts.all()
    current = set(fresh(items, texts))
    counts = Counter((one.source, one.field) for one in texts)
    report = workspace.reports / REPORT_FILE
    return {
        "texts": len(texts),
        "active": sum(one.active and one in current for one in texts),
        "outdated": len(texts) - len(current),
        "counts": [
            {"source": source, "field": field, "texts": count}
            for (source, field), count in sorted(counts.items())
        ],
        "gate": json.loads(report.read_text(encoding="utf-8")) if report.is_file() else None,
        "listed": [{**asdict(one), "outdated": one not in current} for one in texts[:limit]],
    }
