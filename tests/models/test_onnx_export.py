import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from serendip.models.onnx import open_session, to_onnx


class Scaled(nn.Module):
    """A linear layer times a constant; its input has the name of its weight."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.gate = nn.Parameter(torch.randn(3))
        self.layer = nn.Linear(3, 2)

    def forward(self, gate: Tensor) -> Tensor:
        return self.layer(gate * self.gate) * self.scale


class Undecided(Scaled):
    """Branches by the values of its input, which one call cannot show."""

    def forward(self, gate: Tensor) -> Tensor:
        return super().forward(gate) if gate.sum() > 0 else gate[:, :2]


def export(module: nn.Module) -> bytes:
    return to_onnx(module, [torch.zeros(2, 3)], ["gate"], ["out"], [{0: "rows"}])


def test_a_graph_gives_the_numbers_of_its_module_for_any_length() -> None:
    for scale in (2.0, 3.0):
        module = Scaled(scale)
        session = open_session(export(module))
        for count in (1, 2, 5):
            rows = torch.randn(count, 3)
            expected = module(rows).detach().numpy()
            found = session.run(None, {"gate": rows.numpy()})[0]
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_the_same_weights_give_the_same_bytes_and_branches_are_refused() -> None:
    module, other = Scaled(2.0), Scaled(2.0)
    assert export(module) == export(module) != export(other)
    with pytest.raises(ValueError, match=r"Undecided cannot be traced: .*boolean"):
        export(Undecided(1.0))


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
