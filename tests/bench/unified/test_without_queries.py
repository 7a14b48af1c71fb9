"""What written queries are worth to the retriever: the same training without them."""

from dataclasses import replace
from pathlib import Path

import pytest
from bench_films import write_films
from bench_world import InThisProcess

from serendip.content.encoders.text import TextEncoderConfig
from serendip.models.retriever.model import Retriever
from serendip.runtime.progress import TrainOptions
from serendip_bench.datasets.registry import MOVIELENS
from serendip_bench.sequential.rows import MODEL_FOLDER, get_row_folder
from serendip_bench.unified.models import UNIFIED, WITHOUT_QUERIES
from serendip_bench.unified.run import UnifiedBench, run_unified

pytestmark = pytest.mark.usefixtures("few_written_queries")

TINY = {"embedding_size": 8, "search_size": 4, "epochs": 1, "num_negatives": 8, "slots": 2}


def test_an_engine_without_queries_in_training_is_a_baseline_of_the_engine(tmp_path: Path) -> None:
    folder = write_films(tmp_path / "films")
    lines = {
        name: replace(
            line,
            tasks=("search",),
            config=TINY if line.scorer == "retriever" else {},
            beside=(),
        )
        for name, line in MOVIELENS.table.items()
        if name in ("unified", "engine", *WITHOUT_QUERIES)
    }
    assert lines["engine-no-queries"].of == "unified-no-queries"
    assert not set(WITHOUT_QUERIES) & set(UNIFIED)  # other data have queries of people in training
    encoder = TextEncoderConfig(name="hashing")
    bench = UnifiedBench(folder, tmp_path / "out.json", lines, 1, encoder=encoder)
    document = run_unified(bench, TrainOptions(), executor=InThisProcess(100))
    compared = {
        (row["set"], row["system"], row["baseline"]) for row in document["summary"]["comparisons"]
    }
    for name in ("tags", "redial"):
        assert (name, "engine", "engine-no-queries") in compared
        assert (name, "unified", "unified-no-queries") in compared
    learned, unlearned = (
        Retriever.open(get_row_folder(bench.work, name, 0) / MODEL_FOLDER)
        for name in ("unified", "unified-no-queries")
    )
    # Texts are compared with content as it is encoded only where queries taught how.
    assert learned.item_vectors.shape[1] > unlearned.item_vectors.shape[1]
