"""From a trained torch module to an ONNX session; the only way a network leaves training.

Tracing a module costs seconds, far more than all else here, and depends on its structure alone.
So a traced graph is kept and gets the weights of each further module of the same structure, as in
the trainings of several splits. The graph is optimised after it has its weights, in the same way
for the first module and all others: the result does not depend on what is kept.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serendip.config import Config
from serendip.errors import ArtefactError
from serendip.runtime.threads import num_threads

if TYPE_CHECKING:
    import onnx_ir as ir
    from torch import Tensor, nn

DynamicAxes = Mapping[int, str]
"""Axis -> name of an axis of variable length; equal names have equal lengths."""

_MOST_TRACED = 16
_TRACED: dict[str, ir.Model] = {}
"""Structure of a module -> its traced graph, oldest first."""


def to_onnx(
    module: nn.Module,
    example: Sequence[Tensor],
    inputs: Sequence[str],
    outputs: Sequence[str],
    dynamic: Sequence[DynamicAxes],
) -> bytes:
    """Export a module in evaluation mode, with dynamic axes.

    Args:
        module: called as ``module(*example)``.
        example: input tensors. Their dynamic axes must have a length of 2 or more: a length of 1
            would be exported as a constant.
        inputs: names of the graph's inputs, in order.
        outputs: names of its outputs.
        dynamic: dynamic axes of each input.
    """
    module = module.eval()
    structure = _structure(module, example, (inputs, outputs, dynamic))
    traced = _TRACED.get(structure) if structure is not None else None
    if traced is None:
        traced = _trace(module, example, inputs, outputs, dynamic)
        if structure is not None:
            if len(_TRACED) >= _MOST_TRACED:
                _TRACED.pop(next(iter(_TRACED)))
            _TRACED[structure] = traced
    return _with_weights(traced, module)


def _trace(
    module: nn.Module,
    example: Sequence[Tensor],
    inputs: Sequence[str],
    outputs: Sequence[str],
    dynamic: Sequence[DynamicAxes],
) -> ir.Model:
    """The graph as traced, not optimised: all of its initializers are weights of the module."""
    import torch

    with _silenced(), torch.no_grad():
        program = torch.onnx.export(
            module,
            tuple(example),
            dynamo=True,
            optimize=False,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=tuple(dict(axes) for axes in dynamic),
            verbose=False,
        )
    assert program is not None
    return program.model


def _with_weights(traced: ir.Model, module: nn.Module) -> bytes:
    """The optimised graph of a module of the traced structure."""
    import onnx_ir as ir
    from torch.onnx import ONNXProgram

    model = traced.clone()
    weights = module.state_dict()
    for name, initializer in model.graph.initializers.items():
        if name in weights:
            initializer.const_value = ir.tensor(weights[name].detach().numpy(), name=name)
    program = ONNXProgram(model, None)
    with _silenced():
        program.optimize()
    optimised: bytes = program.model_proto.SerializeToString()
    return optimised


def _structure(module: nn.Module, example: Sequence[Tensor], signature: object) -> str | None:
    """All that a traced graph depends on; None where a module has an attribute it cannot name."""
    from torch import Tensor

    parts = [repr(signature), *(f"{one.dtype} {tuple(one.shape)}" for one in example)]
    parts += [
        f"{name} {weight.dtype} {tuple(weight.shape)}"
        for name, weight in module.state_dict().items()
    ]
    for name, part in module.named_modules():
        parts.append(f"{name} {type(part).__module__}.{type(part).__qualname__}")
        for key, value in vars(part).items():
            if key.startswith("_"):  # torch's own: parameters, buffers, modules, hooks
                continue
            if isinstance(value, Tensor) or not _is_plain(value):
                return None
            parts.append(f"{key} {value!r}")
    return "\n".join(parts)


def _is_plain(value: object) -> bool:
    """True for values whose ``repr`` names them wholly."""
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str | Config)


@contextmanager
def _silenced() -> Iterator[None]:
    """Without the exporter's warnings and messages."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(level)


def open_session(model: bytes) -> Any:
    """Open an onnxruntime session with ``num_threads()`` threads that wait without spinning.

    The library sends usage data to its makers unless a variable says no before it is imported;
    here it always says no.

    Raises:
        ArtefactError: the bytes are not a valid ONNX model.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads()
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  # its exceptions share no public base class
        raise ArtefactError(
            f"an ONNX model cannot be opened: {error}.", "Train the model again."
        ) from None


def read_model(path: Path) -> bytes:
    """Read a stored ONNX model as bytes.

    Raises:
        ArtefactError: the file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArtefactError(f"{path} cannot be read: {error}.", "Train the model again.") from None
