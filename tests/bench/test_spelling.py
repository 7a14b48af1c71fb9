import json
from pathlib import Path

import pytest
from bench_products import write_products
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import OSA

from serendip.errors import ConfigError, DataError
from serendip.runtime.progress import TrainOptions
from serendip_bench.spelling import KINDS, SpellingBench, misspell, run_spelling


@given(st.sampled_from(sorted(KINDS)), st.integers(0, 50))
def test_a_typo_is_one_edit_in_one_long_word(kind: str, seed: int) -> None:
    text = "The Shawshank redemption, 1994 of a man"
    misspelt = misspell(text, kind, seed)
    assert misspelt == misspell(text, kind, seed)
    changed = [(a, b) for a, b in zip(text.split(), misspelt.split(), strict=True) if a != b]
    assert len(changed) == 1
    assert len(changed[0][0].strip(",")) >= 4
    assert OSA.distance(*changed[0]) == 1


def test_figures_are_shares_of_the_same_queries_without_a_typo(tmp_path: Path) -> None:
    products = write_products(tmp_path / "products")
    out = tmp_path / "spelling.json"
    document = run_spelling(SpellingBench(products, out, seeds=2), TrainOptions(0))
    assert json.loads(out.read_text()) == document
    rows = {(row["part"], row["slip"]): row for row in document["rows"]}
    assert {slip for part, slip in rows if part == "all"} == {"all", *KINDS}
    for row in rows.values():
        assert row["kept"] == pytest.approx(row["N@10 with a slip"] / row["N@10"])
        assert row["ci95"][0] <= row["kept"] <= row["ci95"][1] + 1e-9
    # One query is of known words alone; of the other, few are.
    assert rows["tuned on", "doubling"]["kept"] == pytest.approx(1.0)
    assert document["clean"]["changed"]["all"] == 0.0
    assert document["clean"]["which"] == []


def test_folders_of_other_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has neither"):
        run_spelling(SpellingBench(tmp_path, tmp_path / "out.json"), TrainOptions(0))
    with pytest.raises(ConfigError, match="--seeds 0"):
        run_spelling(SpellingBench(tmp_path, tmp_path / "out.json", 0), TrainOptions(0))
