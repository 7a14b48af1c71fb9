"""The vector file: what was stored is read, whatever was killed, damaged or written beside it."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serendip.content.vector_file import Keys, VectorFile
from serendip.data.arrays import FloatArray

SIZE = 5


def keys_of(numbers: list[int]) -> Keys:
    digests = b"".join(hashlib.sha256(str(number).encode()).digest() for number in numbers)
    return np.frombuffer(digests, np.uint8).reshape(-1, 32)


def rows_of(numbers: list[int]) -> FloatArray:
    return np.array(
        [[number + column / 10 for column in range(SIZE)] for number in numbers]
    ).astype(np.float32)


def store(folder: Path, numbers: list[int]) -> None:
    VectorFile(folder, SIZE).append(keys_of(numbers), rows_of(numbers))


def assert_holds(folder: Path, stored: list[int], missing: list[int]) -> None:
    vectors, found = VectorFile(folder, SIZE).read(keys_of([*stored, *missing]))
    assert found.tolist() == [True] * len(stored) + [False] * len(missing)
    assert np.array_equal(vectors[: len(stored)], rows_of(stored) if stored else vectors[:0])
    assert not vectors[len(stored) :].any()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 30), max_size=6), max_size=6))
def test_what_was_appended_is_read_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[int]]
) -> None:
    folder, kept = tmp_path_factory.mktemp("vectors"), VectorFile(Path("/nowhere"), SIZE)
    kept.folder = folder
    stored: set[int] = set()
    for part in parts:
        if part:
            store(folder, part)
        stored |= set(part)
        vectors, found = kept.read(keys_of(list(range(31))))
        assert set(np.flatnonzero(found).tolist()) == stored
        assert np.array_equal(vectors[found], rows_of(sorted(stored)) if stored else vectors[:0])


@settings(max_examples=60, deadline=None)
@given(torn=st.sampled_from(["vectors.f32", "keys.bin"]), bytes_left=st.integers(0, 200))
def test_an_append_that_was_killed_anywhere_costs_only_its_own_rows(
    tmp_path_factory: pytest.TempPathFactory, torn: str, bytes_left: int
) -> None:
    """Rows are written first: either a part of them is there, or all and a part of the records."""
    folder = tmp_path_factory.mktemp("vectors")
    store(folder, [1, 2])
    before = {name: (folder / name).read_bytes() for name in ("vectors.f32", "keys.bin")}
    store(folder, [3, 4, 5])
    after = (folder / torn).read_bytes()
    (folder / torn).write_bytes(after[: min(len(after), len(before[torn]) + bytes_left)])
    if torn == "vectors.f32":
        (folder / "keys.bin").write_bytes(before["keys.bin"])
    vectors, found = VectorFile(folder, SIZE).read(keys_of([1, 2, 3, 4, 5]))
    assert found[:2].all()
    assert np.array_equal(vectors[found], rows_of([1, 2, 3, 4, 5])[found])
    store(folder, [6, 7])
    assert_holds(folder, [1, 2, 6, 7], [8])


@given(st.integers(0, 3 * SIZE * 4 - 1), st.integers(0, 7))
@settings(max_examples=30, deadline=None)
def test_a_damaged_row_is_missing_until_it_is_stored_again(
    tmp_path_factory: pytest.TempPathFactory, place: int, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("vectors")
    store(folder, [1, 2, 3])
    content = bytearray((folder / "vectors.f32").read_bytes())
    content[place] ^= 1 << bit
    (folder / "vectors.f32").write_bytes(content)
    damaged = place // (SIZE * 4) + 1
    assert_holds(folder, [number for number in (1, 2, 3) if number != damaged], [damaged])
    store(folder, [damaged])
    assert_holds(folder, [1, 2, 3], [])


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
    reader = VectorFile(tmp_path, SIZE)
    with start_writer(tmp_path, 0, 40) as first, start_writer(tmp_path, 100, 40) as second:
        for writer in (first, second):
            assert writer.stdout is not None
            for line in writer.stdout:
                vectors, found = reader.read(keys_of([int(line)]))
                assert found.all()
                assert np.array_equal(vectors, rows_of([int(line)]))
            assert writer.wait() == 0
    assert_holds(tmp_path, [*range(40), *range(100, 140)], [40, 140])


def test_a_killed_writer_leaves_all_that_it_reported_and_its_lock(tmp_path: Path) -> None:
    with start_writer(tmp_path, 0, 1_000_000) as writer:
        assert writer.stdout is not None
        reported = [int(writer.stdout.readline()) for _ in range(20)]
        writer.send_signal(signal.SIGKILL)
    assert_holds(tmp_path, reported, [])
    store(tmp_path, [-1])
    assert_holds(tmp_path, [*reported, -1], [])
