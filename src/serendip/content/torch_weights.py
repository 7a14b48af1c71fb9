"""Weights for torch: the one place that reads a .pth file, and a name for what a module holds."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from serendip.errors import StorageError

_SUFFIX = ".safetensors"


def converted(pth: Path, folder: Path) -> dict[str, Any]:
    """Tensors of a .pth file, by way of a safetensors copy that is written once.

    Only a file whose hash ``verify_weights`` has checked may be given. Reading is restricted to
    tensors (``weights_only``), so that even a wrong file runs no code.

    Args:
        pth: the file with the weights.
        folder: where the copy is kept; it may be deleted at any time.

    Returns:
        tensors by name.

    Raises:
        StorageError: the copy cannot be written.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save

    copy = folder / f"{pth.stem}{_SUFFIX}"
    try:
        return load_file(copy)
    except (OSError, SafetensorError):  # Not there yet, or torn by a killed process.
        pass
    tensors = torch.load(pth, map_location="cpu", weights_only=True)
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    aside = copy.with_suffix(f".{os.getpid()}.tmp")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(save(tensors))
        aside.replace(copy)
    except OSError as error:
        raise StorageError(f"cannot write {copy}: {error}.", "Free some space.") from None
    return tensors


def module_digest(module: Any) -> str:
    """16 hexadecimal digits that change with any weight of a torch module."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
