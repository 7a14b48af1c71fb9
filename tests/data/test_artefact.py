import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from serendip.config import Config
from serendip.data.arrays import FloatArray
from serendip.data.artefact import VALUE_FILE, Artefact
from serendip.data.dataset import AlignedProjection
from serendip.data.events.repeats import Repeats
from serendip.data.items.reception import Reception
from serendip.data.rows.aligned_rows import AlignedRows
from serendip.data.rows.row_array import PackedRows, put_rows
from serendip.data.rows.strings import StringIndex, Strings
from serendip.data.vocabulary import Vocabulary
from serendip.errors import ArtefactError


class Knobs(Config):
    depth: int = 3
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Part(Artefact):
    table: FloatArray
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Whole(Artefact):
    """One of everything that can be saved."""

    part: Part
    by_name: Mapping[str, Part]
    knobs: Knobs
    content: bytes
    names: tuple[str, ...]
    kinds: frozenset[str]
    limit: float
    best: Any
    nothing: None
    empty: NDArray[Any]
    texts: NDArray[np.str_]
    cache: dict[str, int] = field(default_factory=dict, init=False)

    repair = "Bake it again."


TABLE = np.arange(6, dtype=np.float32).reshape(2, 3)


def whole() -> Whole:
    return Whole(
        Part(TABLE, "note"),
        {"a/../b": Part(TABLE), "": Part(TABLE[:1])},
        Knobs(depth=5, names=("x",)),
        b"\x00bytes",
        ("ü", ""),
        frozenset({"b", "a"}),
        float("inf"),
        np.float64(0.5),
        None,
        np.empty((0, 3), np.int32),
        np.array(["", "é"]),
    )


def test_everything_comes_back_as_it_was(tmp_path: Path) -> None:
    whole().save(tmp_path / "new")
    back = Whole.open(tmp_path / "new")
    np.testing.assert_array_equal(back.part.table, TABLE)
    assert back.knobs == Knobs(depth=5, names=("x",))
    assert back.part.note == "note" and back.content == b"\x00bytes"
    assert back.names == ("ü", "") and back.kinds == {"a", "b"} and back.nothing is None
    assert back.limit == float("inf") and back.best == 0.5
    assert list(back.by_name) == ["a/../b", ""] and back.by_name[""].table.shape == (1, 3)
    assert back.empty.shape == (0, 3) and back.empty.dtype == np.int32
    assert back.texts.tolist() == ["", "é"] and back.cache == {}


def test_arrays_are_mapped_and_stored_once_with_their_late_rows(tmp_path: Path) -> None:
    whole().save(tmp_path)
    back = Whole.open(tmp_path)
    assert back.by_name["a/../b"].table is back.part.table
    assert not back.part.table.flags.writeable
    assert len(list(tmp_path.glob("*.npy"))) == 3

    late = put_rows(np.array([4], np.int32), np.array([1], np.int32), np.array([0], np.int32))
    Reception(late, np.array([9, 0], np.int32)).save(tmp_path)
    back = Reception.open(tmp_path)
    assert back.impressions.tolist() == [4, 0] and back.rejections.tolist() == [9, 0]


def test_a_value_of_another_class_and_what_cannot_be_stored_are_refused(tmp_path: Path) -> None:
    Part(TABLE).save(tmp_path)
    with pytest.raises(ArtefactError, match="no readable Whole: it has a Part") as refused:
        Whole.open(tmp_path)
    assert refused.value.hint == "Bake it again."
    with pytest.raises(TypeError, match="a set cannot be saved"):
        Part(TABLE, {"a"}).save(tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [b"", b"{", b'{"class": "os.system", "values": {}}'])
def test_a_damaged_or_hostile_document_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / VALUE_FILE).write_bytes(content)
    with pytest.raises(ArtefactError, match="no readable Part"):
        Part.open(tmp_path)


def test_a_stored_name_does_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    np.save(tmp_path / "secret.npy", TABLE)
    folder = tmp_path / "value"
    Part(TABLE).save(folder)
    document = json.loads((folder / VALUE_FILE).read_text())
    document["values"]["table"] = {"array": "../secret.npy"}
    (folder / VALUE_FILE).write_text(json.dumps(document))
    with pytest.raises(ArtefactError, match=r"secret\.npy"):
        Part.open(folder)


@pytest.mark.parametrize("content", [b"no array", b""])
def test_a_damaged_array_is_refused(tmp_path: Path, content: bytes) -> None:
    Part(TABLE).save(tmp_path)
    next(tmp_path.glob("*.npy")).write_bytes(content)
    with pytest.raises(ArtefactError, match="no readable Part"):
        Part.open(tmp_path)


def test_arrays_with_a_row_for_each_item_come_back(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    projection = AlignedProjection(np.ones((4, 1), np.float32), np.ones((1, 4), np.float32))
    aligned = AlignedRows.of(projection, rows)
    aligned.save(tmp_path / "aligned")
    back = AlignedRows.open(tmp_path / "aligned")
    assert isinstance(back.content, PackedRows) and not back.content.values.flags.writeable
    expected = AlignedRows(projection, PackedRows.of(rows), aligned.lengths)  # type: ignore[arg-type]
    np.testing.assert_array_equal(np.asarray(back), np.asarray(expected))


def test_strings_vocabularies_and_repeats_come_back(tmp_path: Path) -> None:
    index = StringIndex.of(Strings.of(["x", "", "ü"]))
    index.save(tmp_path / "index")
    opened = StringIndex.open(tmp_path / "index")
    assert [opened.find(text) for text in ("x", "", "ü", "y")] == [0, 1, 2, -1]
    Vocabulary(["b", "a"]).save(tmp_path / "ids")
    known = Vocabulary.open(tmp_path / "ids")
    assert list(known) == ["b", "a"] and known.number("a") == 1 and "c" not in known
    Repeats("kind", {"a": 5.0, "b": float("inf")}, after=TABLE[0]).save(tmp_path / "repeats")
    repeats = Repeats.open(tmp_path / "repeats")
    assert repeats.attribute == "kind"
    assert repeats.gaps == {"a": 5.0, "b": np.inf} and repeats.usual == np.inf
