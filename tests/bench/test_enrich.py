"""Products without descriptions: results, and settings tuned on other queries only."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from bench_products import NUM_PRODUCTS, write_products

from serendip.content.encoders.text import TextEncoderConfig
from serendip.llm.client import LlmRequest, ScriptedLlm
from serendip.llm.ledger import Ledger
from serendip.runtime.progress import TrainOptions
from serendip_bench.enrich import (
    EnrichBench,
    ProductTexts,
    assign_halves,
    cross_validate,
    measure_llm,
    run_enrich,
)


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_products(tmp_path_factory.mktemp("bench") / "products")


def test_a_half_is_evaluated_at_the_best_setting_of_the_other() -> None:
    halves = np.array([0.0, 0.0, 1.0, 1.0])
    values_of = {
        (0.5, True): np.array([0.9, 0.9, 0.1, 0.1]),
        (1.0, False): np.array([0.2, 0.2, 0.3, 0.3]),
    }
    values, chosen = cross_validate(values_of, halves)
    assert values.tolist() == [0.2, 0.2, 0.1, 0.1]
    assert [(setting["weight"], setting["encoded"]) for setting in chosen] == [
        (1.0, False),
        (0.5, True),
    ]


def test_halves_depend_on_the_query_alone() -> None:
    texts = [f"query {number}" for number in range(100)]
    halves = assign_halves(texts)
    np.testing.assert_array_equal(halves, assign_halves(texts[::-1])[::-1])
    assert 30 < halves.sum() < 70


def test_all_texts_are_compared_with_the_stripped_ones(products: Path, tmp_path: Path) -> None:
    file = tmp_path / "enrich.json"
    bench = EnrichBench(products, file, encoder=TextEncoderConfig(name="hashing"))
    document = run_enrich(bench, TrainOptions())
    assert json.loads(file.read_text()) == document
    assert (document["items"], document["queries"], document["llm"]) == (NUM_PRODUCTS, 2, None)
    rows = {(row["search"], row["text"]): row for row in document["rows"]}
    assert set(rows) == {
        (search, text) for search in ("words", "both") for text in ("stripped", "rules", "full")
    }
    for search in ("words", "both"):
        stripped, full = rows[search, "stripped"], rows[search, "full"]
        difference = full["nDCG@10"] - stripped["nDCG@10"]
        assert full["minus_stripped"]["value"] == pytest.approx(difference)
        assert len(rows[search, "rules"]["chosen"]) == 2
        assert rows[search, "rules"]["would_pass"] == (
            rows[search, "rules"]["minus_stripped"]["low"] > 0
        )


def test_an_llm_writes_about_products_until_the_time_limit(products: Path, tmp_path: Path) -> None:
    bench = EnrichBench(products, tmp_path / "e.json", encoder=TextEncoderConfig(name="hashing"))
    texts = ProductTexts.of(bench, TrainOptions())

    def script(request: LlmRequest) -> str:
        data = json.loads(request.user.split("<data>")[1].split("</data>")[0])
        assert "description" not in data["item"]
        assert "bullet_points" not in data["item"]["attributes"]
        words = ["something to sit on"] if "chair" in data["item"]["title"] else []
        answer = {"id": data["id"], "description": "", "keywords": words, "attributes": []}
        return "nothing" if "lamp" in data["item"]["title"] else json.dumps(answer)

    with closing(Ledger.open(tmp_path / "calls.db")) as ledger:
        short_result = measure_llm(texts, ScriptedLlm(script), ledger, 0.0, TrainOptions())
        assert short_result["items"] == 4
        result = measure_llm(texts, ScriptedLlm(script), ledger, 60.0, TrainOptions())
    assert (result["items"], result["answered"], result["written"]) == (6, 5, 2)
    rows = {(row["search"], row["text"]): row["nDCG@10"] for row in result["rows"]}
    assert rows["words", "llm"] > rows["words", "stripped"]
