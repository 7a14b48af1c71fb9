"""A traced graph is kept for modules of one structure; the exported numbers do not depend on it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from serendip.models import onnx
from serendip.models.onnx import open_session, to_onnx


class Scaled(nn.Module):
    """A linear layer times a constant; its input has the name of its weight."""

    def __init__(self, scale: float, size: int = 3) -> None:
        super().__init__()
        self.scale = scale
        self.gate = nn.Parameter(torch.randn(size))
        self.layer = nn.Linear(size, 2)

    def forward(self, gate: Tensor) -> Tensor:
        result: Tensor = self.layer(gate * self.gate) * self.scale
        return result


class Secret(Scaled):
    """Reads a value that has no name of its own."""

    def __init__(self, shift: object) -> None:
        super().__init__(1.0)
        self.shift = shift

    def forward(self, gate: Tensor) -> Tensor:
        return super().forward(gate) + self.shift.value


@pytest.fixture(autouse=True)
def nothing_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx, "_TRACED", {})


def export(module: nn.Module, size: int = 3) -> bytes:
    return to_onnx(module, [torch.zeros(2, size)], ["gate"], ["out"], [{0: "rows"}])


def answers(model: bytes, rows: Tensor) -> np.ndarray:
    return open_session(model).run(None, {"gate": rows.numpy()})[0]


def test_a_second_module_of_a_structure_has_its_own_weights() -> None:
    rows = torch.randn(5, 3)
    one, two = Scaled(2.0), Scaled(2.0)
    exported = export(one), export(two)
    assert len(onnx._TRACED) == 1
    for module, model in zip((one, two), exported, strict=True):
        expected = module(rows).detach().numpy()
        np.testing.assert_allclose(answers(model, rows), expected, rtol=1e-5, atol=1e-6)
    onnx._TRACED.clear()
    assert export(two) == exported[1]


def test_another_constant_or_shape_is_another_structure() -> None:
    rows = torch.randn(4, 3)
    for scale in (2.0, 3.0):
        module = Scaled(scale)
        expected = module(rows).detach().numpy()
        np.testing.assert_allclose(answers(export(module), rows), expected, rtol=1e-5, atol=1e-6)
    export(Scaled(2.0, size=4), size=4)
    assert len(onnx._TRACED) == 3


def test_a_module_with_an_attribute_that_has_no_name_is_traced_every_time() -> None:
    class Shift:
        def __init__(self, value: float) -> None:
            self.value = value

    rows = torch.randn(4, 3)
    for value in (1.0, 2.0):
        module = Secret(Shift(value))
        expected = module(rows).detach().numpy()
        np.testing.assert_allclose(answers(export(module), rows), expected, rtol=1e-5, atol=1e-6)
    assert onnx._TRACED == {}


def test_the_oldest_graph_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx, "_MOST_TRACED", 1)
    export(Scaled(2.0))
    (first,) = onnx._TRACED
    export(Scaled(3.0))
    assert len(onnx._TRACED) == 1
    assert first not in onnx._TRACED


def test_a_session_collects_no_usage_data(tmp_path: Path) -> None:
    model, home = tmp_path / "model.onnx", tmp_path / "home"
    model.write_bytes(export(Scaled(1.0)))
    home.mkdir()
    code = (
        "import sys; from pathlib import Path; from serendip.models.onnx import open_session; "
        "print(open_session(Path(sys.argv[1]).read_bytes()).get_inputs()[0].name)"
    )
    hidden = ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {"HOME": os.fspath(home), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, os.fspath(model)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert (done.stdout, done.stderr) == ("gate\n", "")
    assert list(home.iterdir()) == []
