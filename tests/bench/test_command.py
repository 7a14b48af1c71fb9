import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from bench_world import write_world
from commands import serendip_here
from judged_pairs import write_products

DATA = Path(os.environ.get("SERENDIP_DATA", "../shared/data"))


def run_bench(*arguments: object) -> subprocess.CompletedProcess[str]:
    return serendip_here("bench", *arguments)


def rows(path: Path) -> list[dict[str, Any]]:
    return list(json.loads(path.read_text())["rows"]) if path.exists() else []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--models", "nothing"], 2, "no model is called 'nothing'"),
        (["--seeds", "0"], 2, "--seeds 0"),
        (["--data", "nowhere"], 3, "items.jsonl does not exist"),
    ],
)
def test_wrong_input_has_a_message_and_a_code(
    tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    world = write_world(tmp_path / "circles")
    out = tmp_path / "out.json"
    done = run_bench("sequential", "--data", world, "--json", out, *arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()


def test_judges_are_printed_with_intervals_and_a_folder_without_gold_is_refused(
    tmp_path: Path,
) -> None:
    write_products(tmp_path / "products")
    out = tmp_path / "judges.json"
    arguments = ("--seeds", 1, "--models", "rules,cosine,student")
    done = run_bench("judge", "--data", tmp_path / "products", "--json", out, *arguments)
    assert done.returncode == 0, done.stderr
    assert [row["model"] for row in rows(out)] == ["rules", "cosine", "student"]
    for name in ("auroc", "kappa", "ms per 200", "student"):
        assert name in done.stdout
    refused = run_bench("judge", "--data", tmp_path, "--json", tmp_path / "none.json")
    assert refused.returncode == 3
    assert "no judged pairs" in refused.stderr
    assert not (tmp_path / "none.json").exists()


@pytest.mark.data
@pytest.mark.skipif(
    not (DATA / "amazon-beauty").exists(), reason="amazon-beauty is not in SERENDIP_DATA"
)
def test_beauty_gives_the_figures_of_record(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    models = ("--models", "popularity,transitions")
    done = run_bench("sequential", "--data", DATA / "amazon-beauty", "--json", out, *models)
    assert done.returncode == 0, done.stderr
    row_of = {row["model"]: row for row in rows(out)}
    # Ties count half: an order of equally popular items by their number would give .0114 / .0054.
    assert row_of["popularity"]["R@10"] == pytest.approx(0.0110, abs=5e-5)
    assert row_of["popularity"]["N@10"] == pytest.approx(0.0053, abs=5e-5)
    assert row_of["transitions"]["R@10"] == pytest.approx(0.0748, abs=5e-5)
    assert row_of["transitions"]["N@10"] == pytest.approx(0.0477, abs=5e-5)
    assert all(row["units"] == 22_363 for row in row_of.values())
    assert all(row["train_cpu_s"] < 5 for row in row_of.values())
