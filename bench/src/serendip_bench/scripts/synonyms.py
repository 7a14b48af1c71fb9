"""Effect of unreviewed synonyms from word vectors on search.

    python -m serendip_bench.scripts.synonyms ../shared/data/esci-mini

Reads films with tags or products with judgements, as ``serendip bench spelling`` does. All pairs
that ``serendip llm run synonyms --free`` would propose from word vectors are accepted; lexical
search runs with and without them. Prints one JSON line: mean nDCG@10 of both, the paired difference
with its 95 % interval, and the number of changed queries.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

from serendip.runtime.threads import limit_threads

limit_threads(1)

import numpy as np

from serendip.content.cache import VectorCache
from serendip.content.encoders.text import TextEncoderConfig, open_encoder
from serendip.evaluate.comparison import compare_values
from serendip.jobs.synonyms import propose_from_vectors
from serendip.runtime.progress import TrainOptions
from serendip.search.synonyms import Synonyms
from serendip_bench.spelling import open_spelling_queries


def main() -> None:
    """Parse, measure, print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    print(json.dumps(run(parser.parse_args().data)))


def run(data: Path) -> dict[str, object]:
    """Measure one folder."""
    plain, _ = open_spelling_queries(data)
    encoder = open_encoder(TextEncoderConfig())
    with tempfile.TemporaryDirectory() as folder:
        cache = VectorCache(Path(folder))
        rows = propose_from_vectors(plain.searcher.speller.counts, encoder, cache, TrainOptions(0))
    accepted = Synonyms.of(replace(row, state="accepted") for row in rows)
    expanded = replace(plain, searcher=replace(plain.searcher, synonyms=accepted))
    with_synonyms, without = (
        np.array([queries.measure_ndcg(query, text) for query, text in enumerate(queries.texts)])
        for queries in (expanded, plain)
    )
    comparison = compare_values(("synonyms", "words", "nDCG@10"), with_synonyms, without)
    return {
        "benchmark": "synonyms",
        "data": data.resolve().name,
        "pairs": len(rows),
        "queries": len(without),
        "changed": int((with_synonyms != without).sum()),
        "with": float(with_synonyms.mean()),
        "without": float(without.mean()),
        "difference": comparison.difference,
        "ci95": [comparison.low, comparison.high],
        "verdict": comparison.verdict,
    }


if __name__ == "__main__":
    main()
