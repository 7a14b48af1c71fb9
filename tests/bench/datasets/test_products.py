from pathlib import Path

import pytest
from bench_products import JUDGED, NUM_PRODUCTS, write_products

from serendip.errors import DataError
from serendip.jobs.labels.pair_files import GAINS
from serendip_bench.datasets.products import (
    PRODUCT_FIELDS,
    read_judgements,
    read_products,
    split_products,
)

pytestmark = pytest.mark.usefixtures("few_written_queries")


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_products(tmp_path_factory.mktemp("bench") / "products")


def test_judgements_become_requests_with_gains(products: Path) -> None:
    dataset = read_products(products)
    requests = read_judgements(products, dataset.catalogue.vocabulary)
    known_rows = [row for row in JUDGED if row[1] != "gone"]
    assert [query.text for query in requests.queries] == [text for text, _, _ in known_rows]
    assert [f"p{item}" for item in requests.items] == [product for _, product, _ in known_rows]
    assert requests.gains.tolist() == [GAINS[label] for _, _, label in known_rows]
    assert requests.requests.tolist() == [0, 0, 0, 0, 1, 1]


def test_labels_and_judged_queries_are_not_training_data(products: Path) -> None:
    split = split_products(read_products(products), products)
    train = split.train
    written, judged = set(train.queries.texts), {text for text, _, _ in JUDGED}
    assert not written & judged
    assert train.item_counts().tolist() == [1] * NUM_PRODUCTS
    for query in (*split.tests["search"].queries, *split.validation["search"].queries):
        assert len(query.history) == len(query.exclude) == 0
    assert "pictures" not in train.catalogue[0].text(PRODUCT_FIELDS)
    assert set(train.catalogue[0].attributes) == {"brand", "bullet_points", "category"}


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
