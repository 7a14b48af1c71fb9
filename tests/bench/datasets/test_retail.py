from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bench_retail import BASKETS, NUM_CUSTOMERS, write_retail
from bench_world import InThisProcess

from serendip.content.encoders.text import TextEncoderConfig
from serendip.errors import DataError
from serendip.runtime.progress import TrainOptions
from serendip_bench.datasets.registry import RETAIL_SHOP, detect_dataset
from serendip_bench.datasets.retail import (
    RETAIL,
    build_retail_split,
    read_retail,
    write_retail_files,
)
from serendip_bench.unified.run import UnifiedBench, run_unified
from serendip_bench.unified.tasks import without_country

HASHING = TextEncoderConfig(name="hashing")
TINY = {"embedding_size": 8, "epochs": 6, "num_negatives": 8, "slots": 2}
NO_WORDS = np.empty((0, 4), np.float32)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_retail(tmp_path_factory.mktemp("bench") / "shop")


def test_only_sales_to_customers_are_events(shop: Path) -> None:
    dataset = read_retail(shop)
    assert len(dataset.events) == NUM_CUSTOMERS * BASKETS * 4 + 1
    assert {len(item.item_id) for item in dataset.catalogue.items} == {5}
    assert (np.diff(dataset.events.timestamps) >= 0).all()
    # Most lines of the product have the usual name.
    assert {item.title for item in dataset.catalogue.items} == {
        f"THING {item.item_id}" for item in dataset.catalogue.items
    }


def test_sales_to_some_customers_become_the_files_of_a_shop(shop: Path, tmp_path: Path) -> None:
    dataset = read_retail(shop)
    write_retail_files(dataset, np.array(dataset.users.ids) == "4", tmp_path)
    items = (tmp_path / "items.csv").read_text().splitlines()
    assert len(items) == 1 + dataset.num_items and items[0] == "StockCode,Description"
    header, *events = (tmp_path / "events.csv").read_text().splitlines()
    assert header == "CustomerID,StockCode,InvoiceDate,Country"
    number = int(dataset.users.numbers(["4"])[0])
    assert len(events) == int((dataset.events.users == number).sum()) > 1
    assert {(line.split(",")[0], line.split(",")[3]) for line in events} == {("4", "France")}


def test_home_names_the_country_in_training_and_in_requests(shop: Path) -> None:
    split = build_retail_split(shop, NO_WORDS)
    train, home = split.sequences.train, split.tests["home"]
    assert train.countries is not None
    for user, place in zip(train.users.ids, train.countries.of_users, strict=True):
        assert (train.countries.names[place] == "France") == (int(user) % 4 == 0)
    for query in home.queries:
        assert (query.country == "France") == (int(query.user_id) % 4 == 0)
        assert (query.history.timestamps < query.time).all()
    abroad, new = split.tests["home-abroad"], split.tests["home-newcomers"]
    assert {query.country for query in abroad.queries} == {"France"}
    assert 0 < len(new.queries) < len(home.queries)
    assert not any(len(query.history) for query in new.queries)
    hidden = without_country(home)
    assert not any(query.country for query in hidden.queries)
    assert hidden.items.tolist() == home.items.tolist()
    assert hidden.relevance is home.relevance


def test_the_effect_of_the_country_is_shown(shop: Path, tmp_path: Path) -> None:
    assert detect_dataset(shop) is RETAIL_SHOP
    lines = {
        name: replace(line, config={**TINY, "tasks": line.config["tasks"]} if line.config else {})
        for name, line in RETAIL.items()
    }
    bench = UnifiedBench(shop, tmp_path / "out.json", lines, 1, encoder=HASHING)
    document = run_unified(bench, TrainOptions(), executor=InThisProcess())
    rows = {(row["model"], row["task"], row.get("set", "")): row for row in document["rows"]}
    hidden = rows["unified-hidden-country", "home", ""]
    assert 0 < hidden["changed@10"] <= hidden["requests"]
    assert hidden["requests"] > rows["unified-hidden-country", "home", "abroad"]["requests"]
    known, unknown = rows["unified", "home", ""], rows["unified-no-country", "home", ""]
    assert known["params"] == unknown["params"] + 2 * 8
    assert "changed@10" not in known
    compared = {
        (one["task"], one.get("set", ""), one["baseline"])
        for one in document["summary"]["comparisons"]
    }
    for part in ("", "abroad", "newcomers"):
        assert ("home", part, "unified-no-country") in compared
    # Parts of home are no further tasks, and do not count twice.
    whole = rows["unified", "home", ""]["N@10"] / rows["specialist", "home", ""]["N@10"] - 1
    assert document["grouping"]["1"]["relative"]["home"] == pytest.approx(whole)


def test_a_file_without_a_column_or_a_sale_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"InvoiceNo": ["1"]}), tmp_path / "online_retail.parquet")
    with pytest.raises(DataError, match="no column 'StockCode'"):
        read_retail(tmp_path)
