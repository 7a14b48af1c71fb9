from __future__ import annotations

from pathlib import Path

import pytest
import torch

from serendip.content.encoders.weights import hash_module, load_converted
from serendip.errors import StorageError

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b.c": torch.tensor(3)}


@pytest.fixture
def pth(tmp_path: Path) -> Path:
    torch.save(TENSORS, tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def test_the_copy_is_written_once_and_read_from_then_on(pth: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    assert same(load_converted(pth, folder), TENSORS)
    assert [path.name for path in folder.iterdir()] == ["weights.safetensors"]
    pth.unlink()
    assert same(load_converted(pth, folder), TENSORS)


def test_a_torn_copy_is_written_again(pth: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    load_converted(pth, folder)
    copy = folder / "weights.safetensors"
    whole = copy.read_bytes()
    for length in (0, 5, len(whole) - 1):
        copy.write_bytes(whole[:length])
        assert same(load_converted(pth, folder), TENSORS)
        assert copy.read_bytes() == whole


class Runs:
    """An object that would run code where it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("was-run"),))


def test_a_file_that_would_run_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Runs()}, tmp_path / "bad.pth")
    with pytest.raises(Exception, match="Weights only"):
        load_converted(tmp_path / "bad.pth", tmp_path / "cache")
    assert not (tmp_path / "was-run").exists()


def test_a_folder_that_cannot_be_written_is_a_storage_error(pth: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write"):
        load_converted(pth, tmp_path / "file")


def test_a_digest_changes_with_any_weight_and_with_nothing_else() -> None:
    layer = torch.nn.Linear(3, 2).to(torch.bfloat16)
    before = hash_module(layer)
    assert hash_module(layer.train()) == before
    with torch.no_grad():
        layer.bias[1] += 1
    assert hash_module(layer) != before
