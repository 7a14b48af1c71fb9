"""What synonyms from vectors do to search before anybody has reviewed them.

    python src/serendip_bench/scripts/synonyms.py ../shared/data/esci-mini

Reads films with tags or products with judgements, as ``serendip bench spelling`` does. All pairs
that ``serendip synonyms build`` would propose from vectors of words are taken as accepted; queries
are searched with and without them, by words alone. Prints one JSON line: mean nDCG@10 of both, the
paired difference with its 95 % interval, and how many queries it changed.
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
from serendip.jobs.synonyms.mine import propose_from_vectors
from serendip.runtime.progress import TrainOptions
from serendip.search.synonyms import Synonyms
from serendip_bench.spelling import open_spelling_queries


def main() -> None:
    """Parse, measure, print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    print(json.dumps(run(parser.parse_args().data)))


def run(data: Path) -> dict[str, object]:
    """All figures of one folder."""
    plain, _ = open_spelling_queries(data)
    encoder = open_encoder(TextEncoderConfig())
    with tempfile.TemporaryDirectory() as folder:
        cache = VectorCache(Path(folder))
        rows = propose_from_vectors(plain.searcher.speller.counts, encoder, cache, TrainOptions(0))
    accepted = Synonyms.of(replace(row, state="accepted") for row in rows)
    wide = replace(plain, searcher=plain.searcher.with_synonyms(accepted))
    with_them, without = (
        np.array([one.measure_ndcg(query, text) for query, text in enumerate(one.texts)])
        for one in (wide, plain)
    )
    found = compare_values(("synonyms", "words", "nDCG@10"), with_them, without)
    return {
        "benchmark": "synonyms",
        "data": data.resolve().name,
        "pairs": len(rows),
        "queries": len(without),
        "changed": int((with_them != without).sum()),
        "with": float(with_them.mean()),
        "without": float(without.mean()),
        "difference": found.difference,
        "ci95": [found.low, found.high],
        "verdict": found.verdict,
    }


if __name__ == "__main__":
    main()
