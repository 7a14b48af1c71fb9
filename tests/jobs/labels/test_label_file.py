"""The file of one labeller: durable rows, whole rows only, one labeller and one process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serendip.errors import ConfigError, DataError, StorageError
from serendip.jobs.labels.label_file import LabelFile
from serendip.jobs.labels.pair_files import read_labels

ODD = ('a "quoted", one', "two\nlines\r\nof\rit", "빨간 신발", " blank ", "=1+1")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "people" / "ann.csv"


def write_labels(path: Path, count: int = 5) -> bytes:
    """Write labels of odd queries; the content of the file."""
    with LabelFile(path, "ANN") as labels:
        for number, query in enumerate(ODD[:count]):
            labels.append((query, f"i{number}"), ("good", "bad")[number % 2])
    return path.read_bytes()


def test_labels_are_read_as_they_were_written(path: Path) -> None:
    write_labels(path)
    with LabelFile(path, "ANN") as labels:
        assert [pair for pair, _ in labels.rows] == [
            (query, f"i{n}") for n, query in enumerate(ODD)
        ]
        assert [label for _, label in labels.rows] == ["good", "bad", "good", "bad", "good"]
    is_irrelevant = read_labels(path)
    assert set(is_irrelevant) == {(query, f"i{number}") for number, query in enumerate(ODD)}
    assert is_irrelevant[(ODD[0], "i0")] is False
    assert path.read_text().splitlines()[0] == '"query","item_id","label","source","name"'


def test_the_last_labels_are_removed_in_any_session(path: Path) -> None:
    write_labels(path, 2)
    content = path.read_bytes()
    copy = path.with_name("more.csv")
    copy.write_bytes(content)
    with LabelFile(copy, "ANN") as labels:
        labels.append(("third", "i9"), "bad")
        assert labels.drop_last() == (("third", "i9"), "bad")
        assert copy.read_bytes() == content
        assert labels.drop_last() == ((ODD[1], "i1"), "bad")
        labels.append(("fourth", "i4"), "good")
    with LabelFile(copy, "ANN") as labels:
        assert labels.rows == [((ODD[0], "i0"), "good"), (("fourth", "i4"), "good")]


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 400))
def test_a_cut_row_is_removed(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Wherever a crash cuts the file, whole rows are kept, and the next row follows them."""
    path = tmp_path_factory.mktemp("cut") / "ann.csv"
    content = write_labels(path)
    path.write_bytes(content[:cut])
    with LabelFile(path, "ANN") as labels:
        count = len(labels.rows)
        labels.append(("new", "i9"), "bad")
    with LabelFile(path, "ANN") as labels:
        assert len(labels.rows) == count + 1
        assert labels.rows[-1] == (("new", "i9"), "bad")
        assert [pair[0] for pair, _ in labels.rows[:-1]] == list(ODD[:count])
    assert count == 5 or cut < len(content)


KILLED = """
import sys
from pathlib import Path
from serendip.jobs.labels.label_file import LabelFile
labels = LabelFile(Path(sys.argv[1]), "ANN")
for number in range(10**6):
    labels.append(("query", f"i{number}"), "good")
    print(number, flush=True)
"""


def test_acknowledged_labels_survive_a_kill(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        last = [int(process.stdout.readline()) for _ in range(20)][-1]
        process.send_signal(signal.SIGKILL)
        process.wait()
    with LabelFile(path, "ANN") as labels:
        assert len(labels.rows) > last


def test_a_failed_write_leaves_the_file_unchanged(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = write_labels(path, 2)
    with LabelFile(path, "ANN") as labels:
        write = os.pwrite
        monkeypatch.setattr(os, "pwrite", lambda handle, text, at: write(handle, text[:7], at))
        with pytest.raises(StorageError, match="a row was written in part"):
            labels.append(("third", "i9"), "bad")
        monkeypatch.undo()
        assert path.read_bytes() == before
        labels.append(("third", "i9"), "good")
        assert len(labels.rows) == 3
    assert read_labels(path)[("third", "i9")] is False


def test_one_process_labels_at_a_time(path: Path) -> None:
    with LabelFile(path, "ANN"), pytest.raises(StorageError, match="is open in another process"):
        LabelFile(path, "ANN")
    with LabelFile(path, "ANN"), LabelFile(path.with_name("ben.csv"), "BEN"):
        pass


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("query,item_id,label,confidence,source\nq,i,good,1,llm\n", "has the columns"),
        ("query,item_id,label,source,name\nq,i,good,people,BEN\n", "labels by 'BEN'"),
        ("query,item_id,label,source,name\nq,i,fine,people,ANN\n", "the label 'fine'"),
        ("query,item_id,label,source,name\n" + "q,i,good,people,ANN\n" * 2, "twice"),
    ],
)
def test_other_files_stay_unchanged(path: Path, text: str, message: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        LabelFile(path, "ANN")
    assert path.read_text() == text
    path.write_text("query,item_id,label,source,name\n")
    LabelFile(path, "ANN").close()  # It is not locked any more.


HEADER = "query,item_id,label,source,name\n"


@pytest.mark.parametrize(
    "text",
    [
        "my notes, which are worth more than a label\nand more of them",
        "my notes",
        HEADER + "q,i\nq,i,good,people,ANN\n",
        HEADER + '"q"x,i,good,people,ANN\nq,i,good,people,ANN\n',
        HEADER + "q,i,good,people,ANN\n\nq,j,good,people,ANN\n",
        HEADER + "q,i,good,people,ANN\nnotes\n",
        "\xff\xfe",
    ],
)
def test_only_a_cut_row_is_removed(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(DataError):
        LabelFile(path, "ANN")
    assert path.read_text() == text


def test_the_last_line_break_may_be_missing(path: Path) -> None:
    path.parent.mkdir()
    path.write_text(HEADER + "q,i,good,people,ANN")
    with LabelFile(path, "ANN") as labels:
        labels.append(("q", "j"), "bad")
    assert read_labels(path) == {("q", "i"): False, ("q", "j"): True}


@pytest.mark.parametrize("name", ["", " ", "A\nB", "\x1b[2J"])
def test_a_name_is_one_line(path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="--name is "):
        LabelFile(path, name)
    with pytest.raises(ConfigError, match="cannot be written"):
        LabelFile(Path("/proc/none/ann.csv"), "ANN")
