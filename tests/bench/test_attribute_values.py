"""Hidden attributes: how right the chosen values are, and whether the gate knows."""

import json
from pathlib import Path

from bench_products import write_products

from serendip.runtime.progress import TrainOptions
from serendip_bench.attribute_values import (
    PRECISIONS,
    AttributeBench,
    run_attributes,
)


def test_rules_and_scripted_llms_are_compared_with_what_was_hidden(tmp_path: Path) -> None:
    folder = write_products(tmp_path / "products")
    bench = AttributeBench(folder, tmp_path / "out.json", ("brand", "color"), 2)
    document = run_attributes(bench, TrainOptions())
    assert json.loads((tmp_path / "out.json").read_text()) == document
    rows = {(row["attribute"], row["writer"], row["seed"]): row for row in document["rows"]}
    assert len(rows) == 2 * 2 * (1 + len(PRECISIONS))
    colour = rows["color", "rules", 0]
    # 20 of 40 products have a colour, which is in the title: 10 lose it, half of the rest are
    # asked. Of the five others too few have one of the colours for its word to stand for it.
    assert (colour["hidden"], colour["written"], colour["found"]) == (10, 5, 0.5)
    assert (colour["right"], colour["gate"]) == (1.0, "refused")
    brand = rows["brand", "rules", 0]
    assert (brand["hidden"], brand["written"], brand["found"]) == (20, 0, 0.0)  # not in any text
    assert brand["right"] is None
