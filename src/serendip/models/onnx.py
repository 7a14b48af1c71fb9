"""ONNX export of trained torch modules, and ONNX sessions: the way from training to serving."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serendip.errors import ArtefactError
from serendip.runtime.threads import num_threads

if TYPE_CHECKING:
    from torch import Tensor, nn

DynamicAxes = Mapping[int, str]
"""Axis -> name of an axis of variable length; equal names have equal lengths."""


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
    import torch

    # The exporter logs and warns about its own progress.
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module.eval(),
                tuple(example),
                dynamo=True,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_shapes=tuple(dict(axes) for axes in dynamic),
                verbose=False,
            )
    finally:
        logger.setLevel(level)
    assert program is not None
    model: bytes = program.model_proto.SerializeToString()
    return model


def open_session(model: bytes) -> Any:
    """Open an onnxruntime session with ``num_threads()`` threads that wait without spinning.

    Raises:
        ArtefactError: the bytes are not a valid ONNX model.
    """
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
