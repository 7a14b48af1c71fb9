"""From a trained torch module to an ONNX session; the only way a network leaves training."""

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


def to_onnx(
    module: nn.Module,
    example: Sequence[Tensor],
    inputs: Sequence[str],
    outputs: Sequence[str],
    dynamic: Sequence[DynamicAxes],
) -> bytes:
    """Export a module in evaluation mode, with named axes left open.

    Args:
        module: called as ``module(*example)``.
        example: tensors whose open axes are 2 or more long, so that none is taken for a constant.
        inputs: names of the graph's inputs, in order.
        outputs: names of its outputs.
        dynamic: per input, axis -> name; equal names are equal lengths.
    """
    import torch

    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
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
        exporter.setLevel(level)
    assert program is not None
    model: bytes = program.model_proto.SerializeToString()
    return model


def open_session(model: bytes) -> Any:
    """An onnxruntime session that does not spin and uses ``num_threads()`` threads."""
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
        raise ArtefactError(f"an ONNX model cannot be opened: {error}.") from None


def read_model(path: Path) -> bytes:
    """The bytes of a stored ONNX model.

    Raises:
        ArtefactError: the file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArtefactError(f"{path} cannot be read: {error}.") from None
