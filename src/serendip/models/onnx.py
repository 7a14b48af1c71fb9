"""From a trained torch module to an ONNX session; the only way a network leaves training.

The module is exported by tracing one call of it (``torch.jit.trace``): the exporter that runs
through ``torch.export`` gives the same numbers, but costs five CPU-seconds of each process that
trains, where this one costs a quarter of a second. What it gives up, branches that depend on the
values of tensors, no network here has; they are refused.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from serendip.errors import ArtefactError
from serendip.runtime.threads import num_threads

if TYPE_CHECKING:
    from torch import Tensor, nn

DynamicAxes = Mapping[int, str]
"""Axis -> name of an axis of variable length; equal names have equal lengths."""

_OPERATORS = 18


def to_onnx(
    module: nn.Module,
    example: Sequence[Tensor],
    inputs: Sequence[str],
    outputs: Sequence[str],
    dynamic: Sequence[DynamicAxes],
) -> bytes:
    """Export a module in evaluation mode, with dynamic axes of each input.

    It is called as ``module(*example)``. Dynamic axes of the example must have a length of 2 or
    more: a length of 1 would be exported as a constant.

    Raises:
        ValueError: what the module does depends on the values of tensors.
    """
    import torch
    from torch.jit._trace import TracerWarning

    exported = io.BytesIO()
    with warnings.catch_warnings(record=True) as given, torch.no_grad():
        warnings.simplefilter("always")
        torch.onnx.export(
            module.eval(),
            tuple(example),
            cast("Any", exported),  # a stream or a path
            dynamo=False,
            opset_version=_OPERATORS,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={
                name: dict(axes) for name, axes in zip(inputs, dynamic, strict=True) if axes
            },
        )
    for warning in given:
        if issubclass(warning.category, TracerWarning):
            raise ValueError(f"{type(module).__name__} cannot be traced: {warning.message}")
    return exported.getvalue()


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
