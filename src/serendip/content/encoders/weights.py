"""Pinned model weights: verified against a lock file of packages, versions, files and hashes.

``models.lock`` is in this folder so that installed wheels contain it. Also reads .pth files, which
is done only here, and hashes the weights of torch modules.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Literal

from serendip.config import Config, read_toml, validate
from serendip.errors import ArtefactError, ExtraMissing
from serendip.runtime.atomic_files import hash_file

LOCK_FILE = Path(__file__).with_name("models.lock")


class LockedWeights(Config):
    """One file of weights inside an installed package."""

    package: str
    """Name of the distribution."""

    version: str
    """Exact version of the distribution."""

    file: str
    """Path relative to the folder of installed packages."""

    sha256: str
    """SHA-256 of the file, in hexadecimal."""

    install: Literal["plain", "no-deps"] = "plain"
    """``no-deps`` if the package declares dependencies that would break the installation."""


class ModelsLock(Config):
    """Lock file: all weights that the code may load."""

    weights: tuple[LockedWeights, ...] = ()
    """One entry per file."""


def read_lock(path: Path = LOCK_FILE) -> ModelsLock:
    """Read the lock.

    Raises:
        ConfigError: the file is missing or has unknown keys.
    """
    return validate(ModelsLock, read_toml(path), str(path))


def verify_weights(package: str, lock: Path = LOCK_FILE) -> Path:
    """Verify the hashes of a package's files; a file is read once per process and change.

    Returns:
        path of the last file verified.

    Raises:
        ArtefactError: the package is not in the lock, or the version or a hash differs.
        ExtraMissing: the package is not installed.
    """
    entries = [entry for entry in read_lock(lock).weights if entry.package == package]
    if not entries:
        raise ArtefactError(f"{lock} has no weights of {package!r}.", "Pin their SHA-256 there.")
    for entry in entries:
        path = _find_installed(entry)
        stat = path.stat()
        digest = _hash_cached(path, stat.st_size, stat.st_mtime_ns)
        if digest != entry.sha256:
            raise ArtefactError(
                f"{path} has SHA-256 {digest}; {lock.name} expects {entry.sha256}.",
                f"Reinstall {package}=={entry.version}.",
            )
    return path


def _find_installed(entry: LockedWeights) -> Path:
    """Path of the installed file of a lock entry.

    Raises:
        ArtefactError: another version is installed, or the file is missing.
        ExtraMissing: the package is not installed.
    """
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
def _hash_cached(path: Path, size: int, modified_ns: int) -> str:
    return hash_file(path)  # size and modification time are only part of the key


def read_tensors(pth: Path) -> dict[str, Any]:
    """Tensors of a .pth file, by name; only for files verified by ``verify_weights``.

    Tensors alone are read (``weights_only``), so that even a wrong file cannot run code.
    """
    import torch

    tensors: dict[str, Any] = torch.load(pth, map_location="cpu", weights_only=True)
    return tensors


def hash_module(module: Any) -> str:
    """Hash names, shapes and values of a torch module's weights: 16 hexadecimal digits."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
