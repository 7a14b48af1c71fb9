from pathlib import Path

import pytest
import torch

from serendip.content.encoders.weights import hash_module, read_tensors


def test_tensors_are_read_by_name(tmp_path: Path) -> None:
    torch.save({"a": torch.arange(6.0).reshape(2, 3)}, tmp_path / "weights.pth")
    (tensor,) = read_tensors(tmp_path / "weights.pth").values()
    assert tensor.tolist() == [[0, 1, 2], [3, 4, 5]]


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
        read_tensors(tmp_path / "bad.pth")
    assert not (tmp_path / "was-run").exists()


def test_a_digest_changes_with_any_weight_and_with_nothing_else() -> None:
    layer = torch.nn.Linear(3, 2).to(torch.bfloat16)
    before = hash_module(layer)
    assert hash_module(layer.train()) == before
    with torch.no_grad():
        layer.bias[1] += 1
    assert hash_module(layer) != before
