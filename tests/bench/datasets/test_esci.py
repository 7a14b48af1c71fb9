from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from bench_products import JUDGED, NUM_PRODUCTS, write_products
from bench_world import InThisProcess

from serendip.content.encoders.text import TextEncoderConfig
from serendip.errors import DataError
from serendip.jobs.llm.judged_queries import GAINS
from serendip.runtime.progress import TrainOptions
from serendip_bench.datasets.esci import (
    ESCI,
    PRODUCT_FIELDS,
    build_esci_split,
    list_esci_queries,
    read_judgements,
    read_products,
)
from serendip_bench.datasets.registry import PRODUCTS, detect_dataset
from serendip_bench.unified.models import select_lines
from serendip_bench.unified.run import UnifiedBench, run_unified

pytestmark = pytest.mark.usefixtures("few_written_queries")

HASHING = TextEncoderConfig(name="hashing")
TINY = {
    "embedding_size": 8,
    "epochs": 2,
    "num_negatives": 8,
    "slots": 2,
    "tasks": ("search",),
    "validation_share": 0.25,
}


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_products(tmp_path_factory.mktemp("bench") / "products")


def test_judgements_become_requests_with_gains(products: Path) -> None:
    dataset = read_products(products)
    requests = read_judgements(products, dataset.catalogue.vocabulary)
    assert requests.relevance is not None
    known_rows = [row for row in JUDGED if row[1] != "gone"]
    assert [query.text for query in requests.queries] == [text for text, _, _ in known_rows]
    assert [f"p{item}" for item in requests.items] == [product for _, product, _ in known_rows]
    assert requests.relevance.gains.tolist() == [GAINS[label] for _, _, label in known_rows]
    assert requests.relevance.requests.tolist() == [0, 0, 0, 0, 1, 1]


def test_labels_and_judged_queries_are_not_training_data(products: Path) -> None:
    texts = list_esci_queries(products)
    split = build_esci_split(products, np.eye(len(texts), dtype=np.float32))
    train = split.sequences.train
    assert train.queries is not None
    written, judged = set(train.queries.texts), {text for text, _, _ in JUDGED}
    assert not written & judged
    assert train.item_counts().tolist() == [1] * NUM_PRODUCTS
    for query in (*split.tests["search"].queries, *split.validation["search"].queries):
        assert query.text_vector is not None
        assert query.text_vector.argmax() == texts.index(query.text)
        assert len(query.history) == len(query.exclude) == 0
    assert "pictures" not in train.catalogue[0].text(PRODUCT_FIELDS)
    assert set(train.catalogue[0].attributes) == {"brand", "bullet_points", "category"}


def test_products_have_rows_of_every_search(products: Path, tmp_path: Path) -> None:
    assert detect_dataset(products) is PRODUCTS
    lines = {**ESCI, "unified": replace(ESCI["unified"], config=TINY)}
    bench = UnifiedBench(products, tmp_path / "out.json", lines, 1, encoder=HASHING)
    document = run_unified(bench, TrainOptions(), executor=InThisProcess())
    rows = {row["model"]: row for row in document["rows"]}
    ordered = {"ranker-written", "ranker-labelled", "search-order"}
    assert set(rows) == {"unified", "bm25", "vectors", "rrf", "engine", *ordered}
    for row in rows.values():
        assert (row["task"], row["users"]) == ("search", 2)
        assert 0 < row["judged@10"] <= 0.6
    # Both red kettles stand first: gain 1 each; what else has a gain weighs little.
    assert rows["bm25"]["N@10"] > 0.5
    models = {summary["model"]: summary for summary in document["summary"]["models"]}
    assert models["engine"]["judged@10"] == rows["engine"]["judged@10"]
    pairs = {
        (comparison["system"], comparison["baseline"])
        for comparison in document["summary"]["comparisons"]
    }
    words = ("bm25", "vectors", "rrf")
    assert pairs >= {("unified", "engine"), *product(("unified", "engine", *ordered), words)}
    assert {(name, "engine") for name in ordered} <= pairs
    assert document["transfer"] == document["grouping"] == {}
    assert list(select_lines("engine", ESCI)) == ["unified", "engine"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("lamp,p1,X", "judgements.csv:9: label 'X'"),
        ("lamp,p1,I", "query 'lamp' has no relevant product"),
    ],
)
def test_judgements_that_judge_nothing_are_refused(
    products: Path, tmp_path: Path, line: str, message: str
) -> None:
    for path in products.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with (tmp_path / "judgements.csv").open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(DataError, match=message):
        read_judgements(tmp_path, read_products(products).catalogue.vocabulary)
