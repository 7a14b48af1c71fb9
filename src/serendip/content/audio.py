"""Audio encoders: from the file of a sound to a unit vector, the mean over its pieces.

The networks run in torch, at training only; a service never decodes a sound.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from serendip.config import Config
from serendip.content.encoder import MediaEncoder, encode_present
from serendip.content.late_encoder import LateEncoder, Loaded
from serendip.content.log_mel import NUM_MELS, PATCH_FRAMES, patches
from serendip.content.sound_file import read_sound
from serendip.content.tensor_bundle import read_bundle
from serendip.content.torch_weights import module_digest
from serendip.content.weights import verify_weights
from serendip.data.arrays import FloatArray
from serendip.errors import ConfigError
from serendip.scale.threads import num_threads

_FAMILY = "torch"


class AudioConfig(Config):
    """``[content.audio]``: which encoder hears which sounds."""

    encoder: str = "musicnn"
    """``musicnn``, or ``torch:<module>:<callable>`` for a network of your own: the callable returns
    a torch module that maps log-mel patches (P, 187, 96) to (P, D)."""

    field: str = "audio"
    """Item attribute that holds the path of the sound, relative to the workspace."""

    max_bytes: int = Field(default=50_000_000, ge=1)
    """Larger files are refused."""

    max_seconds: float = Field(default=60.0, gt=0, le=3600)
    """What comes later is not heard."""

    def read(self, path: Path) -> FloatArray:
        """The sound of a file, within these limits.

        Raises:
            DataError: it is too large, of another format or broken.
            ExtraMissing: soundfile is not installed.
        """
        return read_sound(path, self.max_bytes, self.max_seconds)


class MusicNNEncoder:
    """What a music tagger hears, about 40 times as fast as real time on one core.

    Made for music and instruments; speech and noises are told apart less well.

    Args:
        limits: what may be decoded.
        device: torch's name of where it runs.
    """

    name = "musicnn"
    size = 200
    package = "musicnn"

    def __init__(self, limits: AudioConfig, device: str = "cpu") -> None:
        self.version = f"0.1.0-{limits.max_seconds:g}s"
        self._limits, self._device = limits, device
        self._module: Any = None
        self._lock = threading.Lock()

    def encode(self, inputs: Sequence[Path | None]) -> FloatArray:
        """See ``Encoder.encode``.

        Raises:
            DataError: a file is too large, of another format or broken.
            ExtraMissing: soundfile or the package with the weights is not installed.
            ArtefactError: the installed weights are not those of ``models.lock``.
        """
        return encode_present(inputs, self.size, self._encode)

    def _encode(self, files: list[Path | None]) -> FloatArray:
        with self._lock:
            if self._module is None:
                import torch

                from serendip.content.musicnn_network import MusicNN

                folder = verify_weights(self.package).parent
                tensors = read_bundle(folder / ".index", folder / ".data-00000-of-00001")
                torch.set_num_threads(num_threads())
                self._module = MusicNN(tensors).to(self._device)
            return _features(files, self._module, self._limits, self._device)


class TorchAudioEncoder(LateEncoder[Path | None, Any]):
    """Any torch module for log-mel patches, such as a VGGish, found by module and callable.

    The code that is named here runs with all rights, as any plugin does. The version is a hash of
    the module's weights, and how much of a sound is heard.

    Args:
        name: ``torch:<module>:<callable>``.
        limits: what may be decoded.
        device: torch's name of where it runs.

    Raises, when it is first asked:
        ConfigError: there is no such module, or it does not map patches to vectors.
    """

    def __init__(self, name: str, limits: AudioConfig, device: str = "cpu") -> None:
        super().__init__(name)
        self._limits, self._device = limits, device

    def _load(self) -> Loaded[Any]:
        import torch

        module = _made(self.name).eval().to(self._device)
        probe = torch.zeros(1, PATCH_FRAMES, NUM_MELS, device=self._device)
        with torch.inference_mode():
            shape = tuple(module(probe).shape)
        if len(shape) != 2 or shape[0] != 1:
            raise ConfigError(
                f"{self.name} maps a patch of shape {tuple(probe.shape)} to {shape}.",
                "It must map (P, 187, 96) to (P, D).",
            )
        version = f"{module_digest(module)}-{self._limits.max_seconds:g}s"
        return Loaded(module, version, shape[1])

    def _run(self, inputs: list[Path | None], network: Any) -> FloatArray:
        return _features(inputs, network, self._limits, self._device)


def _made(name: str) -> Any:
    _, module, attribute = name.split(":")
    try:
        return getattr(importlib.import_module(module), attribute)()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"audio encoder {name!r} cannot be made: {error}.",
            "Give `torch:<module>:<callable>` of something that can be imported.",
        ) from None


def _features(
    files: Sequence[Path | None], module: Any, limits: AudioConfig, device: str
) -> FloatArray:
    """(N, D) of files that are all there: the mean over the pieces of each."""
    import torch

    rows = []
    for file in files:
        assert file is not None
        heard = patches(limits.read(file))
        with torch.inference_mode():
            found = module(torch.from_numpy(heard).to(device)).mean(0)
        rows.append(found.cpu().numpy().astype(np.float32))
    return np.stack(rows)


def open_audio_encoder(config: AudioConfig, device: str = "cpu") -> MediaEncoder:
    """The encoder that a config names; weights are loaded at the first sound.

    Raises:
        ConfigError: no encoder has this name.
    """
    if config.encoder == MusicNNEncoder.name:
        return MusicNNEncoder(config, device)
    parts = config.encoder.split(":")
    if parts[0] == _FAMILY and len(parts) == 3 and all(parts):
        return TorchAudioEncoder(config.encoder, config, device)
    raise ConfigError(
        f"no audio encoder is called {config.encoder!r}.",
        f"Known: {MusicNNEncoder.name}, {_FAMILY}:<module>:<callable>.",
    )
