"""``serendip bench enrich``: products without descriptions, and what written texts do for them.

All descriptions and bullet points are taken away. Products are then found by people's queries with
what is left (``stripped``), with keywords by rules, and with everything the catalogue said
(``full``). How much keywords weigh, and whether they are encoded, is chosen on one half of the
queries and told on the other, and the other way round: no query is told at settings that it chose.

A small local LLM is too slow for a whole catalogue, so it writes about as many judged products as
it manages in a given time, each query's in turn; all texts are then compared on these products
alone, at the default weight.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from serendip.content.encoders.text import TextEncoderConfig
from serendip.data.item import Item
from serendip.data.store.generated_texts import without_generated
from serendip.data.vocabulary import Vocabulary
from serendip.evaluate.comparison import compare_values
from serendip.evaluate.runs import Values
from serendip.jobs.enrich.gate import METRIC, HybridSearch
from serendip.jobs.enrich.judged_queries import JudgedQueries, read_judged
from serendip.jobs.enrich.write import RulesWriter
from serendip.jobs.llm_job import describe_item, open_llm
from serendip.llm.client import Llm
from serendip.llm.config import LlmConfig
from serendip.llm.ledger import Ledger
from serendip.llm.runner import RunOptions, ask_all
from serendip.llm.tasks import Enrichment, enrich_task
from serendip.runtime.atomic_files import hash_files, write_json
from serendip.runtime.progress import TrainOptions
from serendip.search.lexical import LexicalConfig
from serendip_bench.datasets.esci import (
    JUDGEMENTS_FILE,
    PRODUCT_FIELDS,
    PRODUCTS_FILE,
    read_products,
)
from serendip_bench.work_folder import Encode, open_bench_encoder, open_work_folder

WEIGHTS = (0.25, 0.5, 1.0, 2.0)
"""Of written words, where they are chosen."""

LOCAL = LlmConfig(provider="local", concurrency=2)
"""Who writes about a part of the products."""

_ASKED_AT_ONCE = 4

Setting: TypeAlias = tuple[float, bool]
"""Weight of the keywords, and whether they are encoded, too."""


@dataclass(frozen=True, slots=True)
class EnrichBench:
    """What to run.

    Args:
        data: folder of products and judgements.
        file: the results.
        llm_s: seconds for which the local LLM writes; 0 = it does not. Answers are kept: another
            run goes on.
        cache: folder of text vectors; None = beside the results.
        encoder: of all texts.
    """

    data: Path
    file: Path
    llm_s: float = 0.0
    cache: Path | None = None
    encoder: TextEncoderConfig = field(default_factory=TextEncoderConfig)


def run_enrich(bench: EnrichBench, options: TrainOptions) -> dict[str, Any]:
    """Measure, and write the results file anew.

    Raises:
        DataError: the data is not as it should be.
        ExtraMissing: the local LLM is asked for and not installed.
        StorageError: another process is at work on the same file.
    """
    with open_work_folder(bench.file) as work:
        shelf = RelevanceLabels.of(bench, options)
        document = {
            "dataset": bench.data.resolve().name,
            "data": hash_files([bench.data / PRODUCTS_FILE, bench.data / JUDGEMENTS_FILE]),
            "encoder": bench.encoder.name,
            "metric": METRIC.label,
            "items": len(shelf.full),
            "with_keywords": sum(bool(item.generated_text) for item in shelf.rules),
            "queries": len(shelf.queries),
            "rows": _rows(shelf),
            "llm": None,
        }
        write_json(bench.file, document)
        if bench.llm_s > 0:
            with open_llm(LOCAL) as llm, closing(Ledger.open(work / "calls.db")) as ledger:
                document["llm"] = llm_rows(shelf, llm, ledger, bench.llm_s, options)
            write_json(bench.file, document)
    return document


@dataclass(frozen=True, slots=True, eq=False)
class RelevanceLabels:
    """The same products with different texts, and what they are found by.

    Args:
        stripped: without description and bullet points.
        rules: these with keywords.
        full: as the catalogue has them.
        queries: judged ones.
        encode: texts to vectors.
    """

    stripped: Sequence[Item]
    rules: Sequence[Item]
    full: Sequence[Item]
    queries: JudgedQueries
    encode: Encode

    @classmethod
    def of(cls, bench: EnrichBench, options: TrainOptions) -> RelevanceLabels:
        """Read the products, take their descriptions away and write keywords by rules."""
        encode = open_bench_encoder(bench.encoder, bench.cache, bench.file, options.progress)
        full = read_products(bench.data).catalogue.items
        stripped = [_stripped(item) for item in full]
        vocabulary = Vocabulary(item.item_id for item in full)
        queries = read_judged(bench.data / JUDGEMENTS_FILE, vocabulary, set())
        writer = RulesWriter.of(
            stripped, encode([item.text(PRODUCT_FIELDS) for item in stripped]), {}
        )
        numbers = options.progress.track(range(len(full)), "Writing keywords", len(full))
        rules = [replace(stripped[one], generated_text=writer.keywords(one)) for one in numbers]
        return cls(stripped, rules, full, queries, encode)

    def judged(self, items: Sequence[Item], setting: Setting = (0.5, True)) -> dict[str, Values]:
        """nDCG@10 (Q,) by words, and by words and vectors."""
        weight, is_encoded = setting
        read = items if is_encoded else without_generated(items)
        texts = [item.text(PRODUCT_FIELDS) for item in read]
        finder = HybridSearch(items, self.encode(texts), LexicalConfig(generated=weight))
        return finder.judged(self.queries, self.encode(self.queries.texts))

    def part(self, numbers: Sequence[int]) -> RelevanceLabels:
        """Some of the products, and the queries that have something to find among them."""
        place = {number: row for row, number in enumerate(numbers)}
        gains = [
            {place[number]: gain for number, gain in one.items() if number in place}
            for one in self.queries.gains
        ]
        queries = JudgedQueries.of(dict(zip(self.queries.texts, gains, strict=True)))
        stripped, rules, full = (
            [items[one] for one in numbers] for items in (self.stripped, self.rules, self.full)
        )
        return RelevanceLabels(stripped, rules, full, queries, self.encode)


def _stripped(item: Item) -> Item:
    kept = {name: one for name, one in item.attributes.items() if name != "bullet_points"}
    return replace(item, description="", attributes=kept)


def _rows(shelf: RelevanceLabels) -> list[dict[str, Any]]:
    stripped, full = shelf.judged(shelf.stripped), shelf.judged(shelf.full)
    halves = halves_of(shelf.queries.texts)
    settings = [(weight, encoded) for weight in WEIGHTS for encoded in (False, True)]
    found = {one: shelf.judged(shelf.rules, one) for one in settings}
    rows = []
    for kind, base in stripped.items():
        tried = {one: values[kind] for one, values in found.items()}
        rules, chosen = crossed(tried, halves)
        for name, values in (("stripped", base), ("rules", rules), ("full", full[kind])):
            row = _row(kind, name, values, base)
            rows.append({**row, "chosen": chosen} if name == "rules" else row)
    return rows


def halves_of(texts: Sequence[str]) -> Values:
    """(Q,) 0 or 1 by a hash of the query, whatever else is asked."""
    digests = (hashlib.sha256(text.encode()).digest()[0] for text in texts)
    return np.array([one % 2 for one in digests], np.float64)


def crossed(
    tried: Mapping[Setting, Values], halves: Values
) -> tuple[Values, list[dict[str, float | bool]]]:
    """Values (Q,) of each half at the setting that is best on the other, and these settings."""
    values, chosen = np.zeros(len(halves)), []
    for half in (0, 1):
        own = halves == half
        best = max(tried, key=lambda one: float(tried[one][~own].sum()))
        values[own] = tried[best][own]
        chosen.append({"told_on": half, "weight": best[0], "encoded": best[1]})
    return values, chosen


def _row(kind: str, name: str, values: Values, base: Values) -> dict[str, Any]:
    found = compare_values((name, "stripped", METRIC.label), values, base)
    row: dict[str, Any] = {"search": kind, "text": name, METRIC.label: float(values.mean())}
    if name != "stripped":
        ends = {"value": found.difference, "low": found.low, "high": found.high}
        row["minus_stripped"] = ends
        row["would_pass"] = found.low is not None and found.low > 0
    return row


def llm_rows(
    shelf: RelevanceLabels, llm: Llm, ledger: Ledger, seconds: float, options: TrainOptions
) -> dict[str, Any]:
    """All texts on the products that an LLM was asked about, as many as there was time for."""
    start = time.monotonic()
    answers = _asked(shelf, llm, ledger, seconds, options)
    numbers = list(answers)
    part = shelf.part(numbers)
    said = [
        {} if answer is None else answer.texts(describe_item(item))
        for item, answer in zip(part.stripped, answers.values(), strict=True)
    ]
    written = [
        replace(item, generated_text=". ".join(one[name] for name in sorted(one)))
        for item, one in zip(part.stripped, said, strict=True)
    ]
    found = {
        "stripped": part.judged(part.stripped),
        "rules": part.judged(part.rules),
        "llm": part.judged(written),
        "full": part.judged(part.full),
    }
    return {
        "model": llm.model,
        "items": len(numbers),
        "answered": sum(answer is not None for answer in answers.values()),
        "written": sum(bool(one) for one in said),
        "queries": len(part.queries),
        "seconds": time.monotonic() - start,
        "rows": [
            _row(kind, name, values[kind], found["stripped"][kind])
            for kind in ("words", "both")
            for name, values in found.items()
        ],
    }


def _asked(
    shelf: RelevanceLabels, llm: Llm, ledger: Ledger, seconds: float, options: TrainOptions
) -> dict[int, Enrichment | None]:
    """Product -> answer; None = it gave no usable one. A few are asked about in any case."""
    task, order = enrich_task(), _in_turn(shelf.queries)
    answers: dict[int, Enrichment | None] = {}
    settings = RunOptions("bench", concurrency=LOCAL.concurrency, attempts=2)
    starts = range(0, len(order), _ASKED_AT_ONCE)
    until = time.monotonic() + seconds
    for begin in options.progress.track(starts, "Asking the LLM", len(starts)):
        if answers and time.monotonic() > until:
            break
        numbers = order[begin : begin + _ASKED_AT_ONCE]
        questions = [{"item": describe_item(shelf.stripped[one])} for one in numbers]
        outcome = ask_all(task, questions, llm, ledger, settings)
        answers |= dict(zip(numbers, outcome.answers, strict=True))
    return answers


def _in_turn(queries: JudgedQueries) -> list[int]:
    """Judged products, one of each query in turn; good and bad ones as they come."""
    rng = np.random.default_rng(0)
    lists = [rng.permutation(sorted(gains)).tolist() for gains in queries.gains]
    longest = max(map(len, lists), default=0)
    turns = (one[turn] for turn in range(longest) for one in lists if turn < len(one))
    return list(dict.fromkeys(turns))
