"""``serendip enrich gate``: decides whether generated texts, or values of an attribute, are used.

Texts: held-out queries are searched without and with them. They become active if the 95 % interval
of the difference of nDCG@10 (bootstrap over queries) is above 0; otherwise no text is active. The
search has no trained parts: BM25 with the weights of the settings and cosines of the text encoder,
combined by reciprocal rank fusion over all items. Items without a label count as irrelevant. A
query that a text under test consists of, or contains as a phrase, is left out if such texts are
written queries: it would find its own words.

Values: for items that have a value, which was hidden from the generator, it is compared with the
generated one. The values of the other items become active if the lower end of the 95 % interval of
the share that is right is above a floor. That says nothing of items without a value that are of
another kind than those with one, such as accessories that name the brand they fit.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from serendip.data.store.tables.generated_values import (
    GeneratedValue,
    fresh_values,
    lacks,
    list_values,
)
from serendip.data.text import normalise
from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError, DataError
from serendip.evaluate.decision import Decision, choose
from serendip.evaluate.intervals import estimate
from serendip.evaluate.metrics.base import grade
from serendip.evaluate.metrics.ndcg import NDCG
from serendip.evaluate.runs import Values
from serendip.jobs.context import JobContext
from serendip.jobs.enrich.judged_queries import (
    JudgedQueries,
    collect_earlier_queries,
    cut_time,
    read_gains,
    read_held_out_queries,
)
from serendip.jobs.enrich.write import read_original
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

REPORT_FILE, VALUES_FILE = "enrich.json", "enrich-attributes.json"

MIN_COMPARED = 30
"""Minimum number of items with a value of their own and a generated one."""

FLOOR = 0.9
"""Lowest share of right values."""


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
    dataset = read_original(context)
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
            report |= _describe(Decision("texts", False, reason=reason))
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
    gains = read_gains(gate.judgements, dataset.catalogue.vocabulary, earlier)
    return JudgedQueries.of(gains)


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
    gains = {
        kind: choose(kind, values, ndcg["with"][kind]) for kind, values in ndcg["without"].items()
    }
    return {
        **_describe(gains["both"]),
        "metric": METRIC.label,
        **{
            name: {kind: float(values.mean()) for kind, values in by_kind.items()}
            for name, by_kind in ndcg.items()
        },
        "difference": {
            kind: {"value": gain.gain, "low": gain.low, "high": gain.high}
            for kind, gain in gains.items()
        },
    }


def gate_values(context: JobContext, attribute: str, floor: float = FLOOR) -> dict[str, Any]:
    """Run the gate, write ``reports/enrich-attributes.json`` and activate the values, or none.

    Args:
        context: of the workspace.
        attribute: whose values are tested.
        floor: lowest share of right values, in (0, 1].

    Returns:
        verdict, reason, the share of right values with its interval, and the number of active ones.

    Raises:
        ConfigError: the floor is no share.
        DataError: there are no values of the attribute for the current items.
        StorageError: the database cannot be written.
    """
    if not 0 < floor <= 1:
        raise ConfigError(f"--floor {floor} is no share.", "Use a number up to 1.")
    items = read_original(context).catalogue.items
    by_id = {item.item_id: item for item in items}
    with closing(context.workspace.open_store()) as store:
        stored = (one for one in store.generated_values.all() if one.attribute == attribute)
        values = fresh_values(items, stored)
        if not values:
            raise DataError(
                f"there are no generated values of {attribute!r} for the current items.",
                f"Run `serendip enrich attribute {attribute}`; it may have found none.",
            )
        missing = [value for value in values if lacks(by_id[value.item_id], attribute)]
        report = {
            "attribute": attribute,
            "sources": sorted({value.source for value in values}),
            "values": len(missing),
            **judge_values(_compare_with_own(values, by_id), floor),
        }
        active = missing if report["verdict"] == "passed" else []
        store.generated_values.activate(attribute, active)
    report["active"] = len(active)
    reports = read_reports(context.workspace.reports)
    write_json(context.workspace.reports / VALUES_FILE, {**reports, attribute: report})
    return report


def read_reports(folder: Path) -> dict[str, Any]:
    """Attribute -> last report of the gate; empty without any."""
    path = folder / VALUES_FILE
    reports: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return reports


def _compare_with_own(values: Sequence[GeneratedValue], by_id: Mapping[str, Item]) -> list[bool]:
    """Whether each value of an item that has one of its own is right; case does not count."""
    return [
        normalise(value.value)
        in {normalise(own) for own in list_values(by_id[value.item_id], value.attribute)}
        for value in values
        if not lacks(by_id[value.item_id], value.attribute)
    ]


def judge_values(right: Sequence[bool], floor: float = FLOOR) -> dict[str, Any]:
    """The verdict on values of which it is known whether they are right."""
    head: dict[str, Any] = {"compared": len(right), "floor": floor}
    if len(right) < MIN_COMPARED:
        reason = f"{len(right)} items to compare; {MIN_COMPARED} are needed"
        return {**head, **_describe(Decision("values", False, reason=reason))}
    share = estimate(np.array(right, np.float64))
    decision = Decision.of("values", share, floor, "too many are wrong")
    return {**head, **_describe(decision), "right": share.as_dict()}


def _describe(decision: Decision) -> dict[str, str]:
    """Verdict and reason of a decision, for a report."""
    return {"verdict": decision.verdict, "reason": "" if decision.on else decision.reason}
