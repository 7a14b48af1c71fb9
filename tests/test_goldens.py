"""What golden records compare, translate and mask; what they record is asked of the product."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "dev"))

from golden.compare import Compared, Difference, Renames, compare
from golden.masks import Masks
from golden.worlds import write_shop


def compared(
    folder: Path, old: object, new: object, renames: str = "", tolerance: float = 0.0
) -> Compared:
    """The comparison of one category ``http``."""
    for name, document in (("old", old), ("new", new)):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "http.json").write_text(json.dumps(document))
    (folder / "renames").write_text(renames)
    read = Renames.read(folder / "renames")
    return next(compare(folder / "old", folder / "new", ["http"], read, tolerance))


def test_values_are_compared_by_their_path_and_exactly(tmp_path: Path) -> None:
    old = {"home": {"items": [{"score": 0.5}, {"score": 1}], "degraded": [], "gone": None}}
    new = {"home": {"items": [{"score": 0.5}, {"score": 1.0}], "degraded": ["x"]}}
    found = compared(tmp_path, old, new)
    assert found.values == 5
    assert found.differences == [
        Difference("/home/items/1/score", 1, 1.0),
        Difference("/home/degraded", [], "(nothing)"),
        Difference("/home/gone", None, "(nothing)"),
        Difference("/home/degraded/0", "(nothing)", "x"),
    ]


@pytest.mark.parametrize(("tolerance", "differ"), [(0.0, 1), (1e-6, 0), (1e-9, 1)])
def test_a_tolerance_is_of_numbers_alone(tmp_path: Path, tolerance: float, differ: int) -> None:
    found = compared(tmp_path, {"a": 1.0, "b": True}, {"a": 1.0 + 1e-7, "b": True}, "", tolerance)
    assert len(found.differences) == differ
    assert compared(tmp_path, {"a": True}, {"a": 1}, "", 0.5).differences


def test_names_of_the_recorded_side_are_translated(tmp_path: Path) -> None:
    old = {"home": {"likeness": 1, "kind": "likeness", "reason": "its likeness is high"}}
    new = {"home": {"similarity": 1, "kind": "similarity", "reason": "its likeness is high"}}
    assert not compared(tmp_path, old, new, "# names\nlikeness -> similarity\n").differences
    assert len(compared(tmp_path, old, new, "[toml]\nlikeness -> similarity\n").differences) == 3
    scoped = '{"json": {"likeness": "similarity"}}'
    assert not compared(tmp_path, old, new, scoped).differences


def test_settings_have_names_of_their_own(tmp_path: Path) -> None:
    old, new = {"cut": 1, "settings": {"cut": 2}}, {"cut": 1, "settings": {"threshold": 2}}
    assert not compared(tmp_path, old, new, "[toml]\ncut -> threshold\n").differences


def test_whole_words_are_translated_in_texts_for_people() -> None:
    renames = Renames({"cli": {"--cut": "--threshold"}, "toml": {"judge": "labels"}})
    told = {"serendip judge": ["--cut FLOAT --cuts, of [judge] but not of judges"]}
    assert renames.document("help", told) == {
        "serendip labels": ["--threshold FLOAT --cuts, of [labels] but not of judges"]
    }


@pytest.mark.parametrize("text", ["old new\n", "[cloud]\na -> b\n", '{"cloud": {"a": "b"}}'])
def test_what_is_no_table_of_names_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "renames").write_text(text)
    with pytest.raises(ValueError, match=r"is not|is no scope"):
        Renames.read(tmp_path / "renames")


def test_what_differs_from_run_to_run_is_masked(tmp_path: Path) -> None:
    masks = Masks(tmp_path)
    told = {
        "request_id": "0" * 32,
        "wall_s": 1.5,
        "file": f"{tmp_path}/home.parquet",
        "address": "http://127.0.0.1:40123/v1",
        "timestamp": time.time(),
        "score": 0.123456789,
        "price": 1_600_000_000,
    }
    assert masks.document(told) == {
        "request_id": "<masked>",
        "wall_s": "<masked>",
        "file": "<folder>/home.parquet",
        "address": "http://127.0.0.1:<port>/v1",
        "timestamp": "<now>",
        "score": 0.123456789,
        "price": 1_600_000_000,
    }
    stage = "  train ranker                           5.9 s       4.0 CPU-s      594 MB"
    assert masks.lines(f"{stage}\n  rows ━━━ 3/3 0:00:01\n") == ["  train ranker <cost>"]


def test_the_same_seed_writes_the_same_shop(tmp_path: Path) -> None:
    for name in ("one", "other"):
        write_shop(tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len(files) == 8
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
