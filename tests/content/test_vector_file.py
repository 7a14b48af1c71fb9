"""The vector file: what was stored is read, whatever was killed or written beside it."""

import hashlib
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serendip.content.vector_file import VectorFile
from serendip.data.arrays import FloatArray

SIZE = 5


def keys_of(numbers: list[int]) -> list[bytes]:
    return [hashlib.sha256(str(number).encode()).digest() for number in numbers]


def rows_of(numbers: list[int]) -> FloatArray:
    return np.array(
        [[number + column / 10 for column in range(SIZE)] for number in numbers]
    ).astype(np.float32)


def store(folder: Path, numbers: list[int]) -> None:
    VectorFile(folder / "file", SIZE).append(keys_of(numbers), rows_of(numbers))


def assert_holds(folder: Path, stored: list[int], missing: list[int]) -> None:
    vectors, found = VectorFile(folder / "file", SIZE).read(keys_of([*stored, *missing]))
    assert found.tolist() == [True] * len(stored) + [False] * len(missing)
    assert np.array_equal(vectors[: len(stored)], rows_of(stored) if stored else vectors[:0])
    assert not vectors[len(stored) :].any()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 30), max_size=6), max_size=6))
def test_what_was_appended_is_read_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[int]]
) -> None:
    folder = tmp_path_factory.mktemp("vectors")
    kept = VectorFile(folder / "file", SIZE)
    stored: set[int] = set()
    for part in parts:
        if part:
            store(folder, part)
        stored |= set(part)
        vectors, found = kept.read(keys_of(list(range(31))))
        assert set(np.flatnonzero(found).tolist()) == stored
        assert np.array_equal(kept.holds(keys_of(list(range(31)))), found)
        assert np.array_equal(vectors[found], rows_of(sorted(stored)) if stored else vectors[:0])


_WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_vector_file import store
first, count = int(sys.argv[3]), int(sys.argv[4])
for number in range(first, first + count):
    store(Path(sys.argv[2]), [number])
    print(number, flush=True)
"""


def start_writer(folder: Path, first: int, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _WRITER, str(Path(__file__).parent), str(folder)]
    return subprocess.Popen([*command, str(first), str(count)], stdout=subprocess.PIPE, text=True)


def test_processes_append_side_by_side(tmp_path: Path) -> None:
    reader = VectorFile(tmp_path / "file", SIZE)
    with start_writer(tmp_path, 0, 40) as first, start_writer(tmp_path, 100, 40) as second:
        for writer in (first, second):
            assert writer.stdout is not None
            for line in writer.stdout:
                vectors, found = reader.read(keys_of([int(line)]))
                assert found.all()
                assert np.array_equal(vectors, rows_of([int(line)]))
            assert writer.wait() == 0
    assert_holds(tmp_path, [*range(40), *range(100, 140)], [40, 140])


def test_a_killed_writer_leaves_all_that_it_reported(tmp_path: Path) -> None:
    with start_writer(tmp_path, 0, 1_000_000) as writer:
        assert writer.stdout is not None
        reported = [int(writer.stdout.readline()) for _ in range(20)]
        writer.send_signal(signal.SIGKILL)
    assert_holds(tmp_path, reported, [])
    store(tmp_path, [-1])
    assert_holds(tmp_path, [*reported, -1], [])
