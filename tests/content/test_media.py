from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from serendip.content.cache import VectorCache
from serendip.content.encoder import encode_present
from serendip.content.media import Media, read_bounded, workspace_file
from serendip.data.arrays import FloatArray
from serendip.data.item import Item
from serendip.errors import DataError


class ByteCounts:
    """Counts the bytes of a file by value: a stand-in for a network that reads files."""

    name, version, size = "test:byte/counts", "1", 256

    def __init__(self) -> None:
        self.seen: list[Path | None] = []

    def encode(self, inputs: Sequence[Path | None]) -> FloatArray:
        self.seen.extend(inputs)
        return encode_present(inputs, self.size, self._encode)

    def _encode(self, files: list[Path | None]) -> FloatArray:
        counts = [
            np.bincount(bytearray(file.read_bytes()), minlength=256) for file in files if file
        ]
        return np.stack(counts).astype(np.float32)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    (folder / "covers").mkdir(parents=True)
    (folder / "covers" / "one.png").write_bytes(b"one")
    (folder / "two.png").write_bytes(b"two")
    (tmp_path / "secret.png").write_bytes(b"secret")
    return folder


def test_paths_are_relative_to_the_workspace(workspace: Path) -> None:
    expected = (workspace / "covers" / "one.png").resolve()
    assert workspace_file(workspace, "covers/one.png") == expected
    assert workspace_file(workspace, "covers/../covers/one.png") == expected
    assert workspace_file(workspace, str(workspace / "covers" / "one.png")) == expected


@pytest.mark.parametrize("name", ["../secret.png", "covers/../../secret.png", "/etc/passwd", ".."])
def test_what_lies_outside_is_refused(workspace: Path, name: str) -> None:
    with pytest.raises(DataError, match="outside the workspace"):
        workspace_file(workspace, name)


def test_a_link_does_not_lead_out(workspace: Path) -> None:
    (workspace / "link.png").symlink_to(workspace.parent / "secret.png")
    (workspace / "folder").symlink_to(workspace.parent)
    (workspace / "inside.png").symlink_to("two.png")
    for name in ("link.png", "folder/secret.png"):
        with pytest.raises(DataError, match="outside the workspace"):
            workspace_file(workspace, name)
    assert workspace_file(workspace, "inside.png").read_bytes() == b"two"


def test_only_regular_files_are_files(workspace: Path) -> None:
    os.mkfifo(workspace / "pipe.png")
    (workspace / "loop.png").symlink_to("loop.png")
    for name in ("pipe.png", "covers", "absent.png", "https://example.org/a.png", "x" * 5000):
        with pytest.raises(DataError, match=r"no file|no path"):
            workspace_file(workspace, name)
    for name in ("loop.png", "nul\0.png"):
        with pytest.raises(DataError, match=r"no path|no file"):
            workspace_file(workspace, name)


def test_at_most_max_bytes_are_read(workspace: Path) -> None:
    assert read_bounded(workspace / "two.png", 3) == b"two"
    with pytest.raises(DataError, match="larger than 2 bytes"):
        read_bounded(workspace / "two.png", 2)


def items(*names: str) -> list[Item]:
    return [
        Item(str(number), attributes={"cover": name} if name else {})
        for number, name in enumerate(names)
    ]


def test_items_without_a_path_have_no_file(workspace: Path) -> None:
    media = Media(ByteCounts(), "cover", workspace)
    files = media.files(items("two.png", "", "covers/one.png", " "))
    assert [file and file.name for file in files] == ["two.png", None, "one.png", None]


def test_all_unusable_paths_are_counted_and_the_first_are_named(workspace: Path) -> None:
    media = Media(ByteCounts(), "cover", workspace)
    with pytest.raises(DataError) as caught:
        media.files(items("a", "two.png", "../secret.png", "c", "d", "e"))
    message = str(caught.value)
    assert "'cover' of 5 items" in message
    assert "item '2': '../secret.png' is outside the workspace" in message
    assert "(and 2 more)" in message


def test_the_cache_knows_a_file_by_what_is_inside(workspace: Path, tmp_path: Path) -> None:
    (workspace / "copy.png").write_bytes(b"one")
    one, copy, two = (workspace / name for name in ("covers/one.png", "copy.png", "two.png"))
    encoder = ByteCounts()
    first = VectorCache(tmp_path / "cache").encode(encoder, [one, copy, None, two])
    assert [file and file.read_bytes() for file in encoder.seen] == [b"one", None, b"two"]
    assert np.array_equal(first, ByteCounts().encode([one, one, None, two]))
    again = ByteCounts()
    two.write_bytes(b"other")
    second = VectorCache(tmp_path / "cache").encode(again, [copy, two])
    assert again.seen == [two]
    assert np.array_equal(second[0], first[0])
    assert not np.array_equal(second[1], first[3])


def test_a_file_that_has_gone_is_a_data_error(workspace: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.png cannot be read"):
        VectorCache(tmp_path / "cache").encode(ByteCounts(), [workspace / "gone.png"])
