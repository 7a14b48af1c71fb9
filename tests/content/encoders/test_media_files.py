import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from serendip.content.cache import VectorCache
from serendip.content.encoders.base import encode_present
from serendip.content.encoders.media_files import (
    Media,
    MediaReport,
    read_bounded,
    resolve_workspace_file,
)
from serendip.data import FloatArray, Item
from serendip.data.items.features import ModalityVectors
from serendip.errors import DataError
from serendip.runtime.progress import SilentProgress


class ByteCounts:
    """Counts the bytes of a file by value: a stand-in for a network that reads files."""

    name, version, size = "test:byte/counts", "1", 256

    def __init__(self) -> None:
        self.seen: list[Path | None] = []

    def encode(self, inputs: Sequence[Path | None]) -> FloatArray:
        self.seen.extend(inputs)
        return encode_present(inputs, self.size, self._encode)

    def _encode(self, files: list[Path | None]) -> FloatArray:
        counts = [np.bincount(bytearray(opened(file)), minlength=256) for file in files if file]
        return np.stack(counts).astype(np.float32)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    (folder / "covers").mkdir(parents=True)
    (folder / "covers" / "one.png").write_bytes(b"one")
    (folder / "two.png").write_bytes(b"two")
    (tmp_path / "secret.png").write_bytes(b"secret")
    return folder


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (
            ["../secret.png", "covers/../../secret.png", "/etc/passwd", ".."],
            "outside the workspace",
        ),
        (["link.png", "folder/secret.png"], "outside the workspace"),
        (["pipe.png", "covers", "absent.png", "https://example.org/a.png"], "not a file"),
        (["x" * 5000, "loop.png", "nul\0.png"], r"not a valid path|not a file"),
    ],
)
def test_only_regular_files_inside_are_files(
    workspace: Path, names: list[str], problem: str
) -> None:
    (workspace / "link.png").symlink_to(workspace.parent / "secret.png")
    (workspace / "folder").symlink_to(workspace.parent)
    (workspace / "inside.png").symlink_to("two.png")
    (workspace / "loop.png").symlink_to("loop.png")
    os.mkfifo(workspace / "pipe.png")
    for name in names:
        with pytest.raises(DataError, match=problem):
            resolve_workspace_file(workspace, name)
    assert resolve_workspace_file(workspace, "inside.png").read_bytes() == b"two"


def items(*names: str) -> list[Item]:
    return [
        Item(str(number), attributes={"cover": name} if name else {})
        for number, name in enumerate(names)
    ]


def covers(workspace: Path, max_bytes: int = 1_000) -> Media:
    return Media(ByteCounts(), "cover", workspace, max_bytes, opened)


def opened(path: Path) -> bytes:
    """A file that begins with "torn" is broken, for the check as for the encoder."""
    data = read_bounded(path, 1_000)
    if data.startswith(b"torn"):
        raise DataError(f"{path.name} is broken.", "Replace it.")
    return data


def encoded(media: Media, given: list[Item], cache: Path) -> tuple[ModalityVectors, MediaReport]:
    return media.encode(given, VectorCache(cache), SilentProgress(), "image")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("link.png", "'link.png' is outside the workspace."),
        ("absent.png", "'absent.png' is not a file in the workspace."),
        ("nul\0.png", "is not a valid path."),
        ("torn.png", "torn.png is broken."),
        ("large.png", "'large.png' has 1,001 bytes; 1,000 are allowed."),
    ],
)
def test_a_bad_file_is_named_and_left_out_and_stops_nothing(
    workspace: Path, tmp_path: Path, name: str, reason: str
) -> None:
    (workspace / "link.png").symlink_to(workspace.parent / "secret.png")
    (workspace / "torn.png").write_bytes(b"torn picture")
    (workspace / "large.png").write_bytes(b"x" * 1_001)
    media, given = covers(workspace), items("two.png", name, "covers/one.png")
    found, report = encoded(media, given, tmp_path / "cache")
    assert found.present.tolist() == [True, False, True]
    assert not found.vectors[1].any()
    assert (report.named, [one.item_id for one in report.left_out]) == (3, ["1"])
    assert report.left_out[0].problem.endswith(reason)
    assert report.message.startswith("1 of 3 files that `cover` names cannot be used")
    assert media.check(given, SilentProgress()) == report


def test_a_large_file_is_refused_before_any_of_it_is_read(workspace: Path, tmp_path: Path) -> None:
    with (workspace / "sparse.png").open("wb") as stream:
        stream.truncate(2**40)
    _, report = encoded(covers(workspace), items("sparse.png"), tmp_path / "cache")
    assert "has 1,099,511,627,776 bytes" in report.left_out[0].problem


def test_where_nothing_can_be_used_the_report_is_loud(workspace: Path, tmp_path: Path) -> None:
    found, report = encoded(covers(workspace), items("a", "", "b"), tmp_path / "cache")
    assert not found.present.any()
    assert report.message == "NONE of the 2 files that `cover` names can be used"
    _, unnamed = encoded(covers(workspace), items("", ""), tmp_path / "cache")
    assert unnamed.message == "no item names a file in `cover`"


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
