"""Audio encoders: from the file of a sound to a unit vector, the mean over its pieces.

The networks run in torch, at training only; a service never decodes a sound.

Sounds from files that nobody vouches for: size, length, channels and format are bounded.

Log-mel spectrograms in numpy: what networks for sounds look at.

96 triangular filters on Slaney's mel scale, each of area one, over the power spectrum of frames of
512 samples (periodic Hann window, one every 256 samples, mirrored at the ends), then
``log10(10000 m + 1)``: the input that musicnn was trained on.
"""

from __future__ import annotations

import importlib
import io
import math
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from serendip.config import Config
from serendip.content.encoders.base import (
    LazyEncoder,
    LoadedNetwork,
    MediaEncoder,
    encode_present,
    import_extra,
)
from serendip.content.encoders.media_files import read_bounded
from serendip.content.encoders.weights import module_digest, verify_weights
from serendip.data.arrays import FloatArray
from serendip.errors import ConfigError, DataError
from serendip.runtime.threads import num_threads

SAMPLE_RATE = 16_000
FRAME, HOP, NUM_MELS = 512, 256, 96
PATCH_SECONDS = 3
PATCH_FRAMES = 1 + (PATCH_SECONDS * SAMPLE_RATE - FRAME // 2) // HOP
"""187: frames that lie within three seconds."""

_LINEAR_HZ, _BREAK_HZ = 200 / 3, 1000.0
_LOG_STEP = np.log(6.4) / 27


def log_mel(samples: FloatArray) -> FloatArray:
    """Spectrogram (T, 96) float32 of (S,) samples at 16 kHz; T = 1 + S // 256, S > 256."""
    padded = np.pad(samples, FRAME // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
    return np.log10(10_000 * (power @ mel_filters().T) + 1).astype(np.float32)


def patches(samples: FloatArray) -> FloatArray:
    """Spectrograms (P, 187, 96) of pieces of three seconds; a shorter sound is repeated."""
    shortest = PATCH_SECONDS * SAMPLE_RATE
    if len(samples) < shortest:
        samples = np.resize(samples, shortest)
    spectrogram = log_mel(samples)
    count = len(spectrogram) // PATCH_FRAMES
    return spectrogram[: count * PATCH_FRAMES].reshape(count, PATCH_FRAMES, NUM_MELS)


@cache
def mel_filters() -> FloatArray:
    """(96, 257) float32 weights of the frequencies 0 to 8,000 Hz in each filter."""
    frequencies = np.linspace(0, SAMPLE_RATE / 2, FRAME // 2 + 1)
    corners = _to_hz(np.linspace(0, _to_mel(SAMPLE_RATE / 2), NUM_MELS + 2))
    rising = (frequencies - corners[:-2, None]) / np.diff(corners)[:-1, None]
    falling = (corners[2:, None] - frequencies) / np.diff(corners)[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return np.asarray(triangles * (2 / (corners[2:] - corners[:-2]))[:, None], dtype=np.float32)


def _to_mel(hz: float) -> float:
    """Slaney's scale: linear up to 1 kHz, logarithmic above."""
    if hz < _BREAK_HZ:
        return hz / _LINEAR_HZ
    return float(_BREAK_HZ / _LINEAR_HZ + np.log(hz / _BREAK_HZ) / _LOG_STEP)


def _to_hz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    break_mel = _BREAK_HZ / _LINEAR_HZ
    above = _BREAK_HZ * np.exp(_LOG_STEP * (mels - break_mel))
    return np.where(mels < break_mel, mels * _LINEAR_HZ, above)


FORMATS = ("WAV", "FLAC", "OGG", "MP3", "AIFF")
HINT = 'Run `pip install "serendip[audio]"`.'

_LOWEST_RATE, _HIGHEST_RATE, _MOST_CHANNELS = 4_000, 192_000, 8
_FRAMES_AT_ONCE = 1 << 16


def read_sound(path: Path, max_bytes: int, max_seconds: float) -> FloatArray:
    """The beginning of a sound as one channel at 16 kHz, values in [-1, 1].

    A file is unpacked block by block and never beyond ``max_seconds``, however long it claims to
    be.

    Args:
        path: WAV, FLAC, Ogg, MP3 or AIFF; what it is says its content, not its name.
        max_bytes: largest file.
        max_seconds: what comes later is not heard.

    Returns:
        (S,) float32, S > 0.

    Raises:
        DataError: the file is too large, empty, of another format or broken.
        ExtraMissing: soundfile is not installed.
    """
    soundfile = import_extra("soundfile", HINT)
    data = read_bounded(path, max_bytes)
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as sound:
            _check(path, sound)
            rate = int(sound.samplerate)
            mono = _first_frames(sound, int(max_seconds * rate))
    except (soundfile.LibsndfileError, OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        allowed = ", ".join(FORMATS)
        raise DataError(
            f"{path} is no sound that is read here: {error}", f"Use {allowed}."
        ) from None
    if not len(mono) or not np.isfinite(mono).all():
        raise DataError(f"{path} is a sound without samples, or with some that are no numbers.")
    return _resampled(np.clip(mono, -1, 1), rate)


def _check(path: Path, sound: Any) -> None:
    """Refuse what the file claims to be, before it is unpacked."""
    if sound.format not in FORMATS:
        raise DataError(f"{path} is {sound.format}.", f"Use {', '.join(FORMATS)}.")
    if not _LOWEST_RATE <= sound.samplerate <= _HIGHEST_RATE:
        raise DataError(
            f"{path} has {sound.samplerate} samples per second.",
            f"Use {_LOWEST_RATE:,} to {_HIGHEST_RATE:,}.",
        )
    if sound.channels > _MOST_CHANNELS:
        raise DataError(f"{path} has {sound.channels} channels.", f"Use {_MOST_CHANNELS} or less.")


def _first_frames(sound: Any, most: int) -> FloatArray:
    """Mean over the channels of at most ``most`` frames."""
    parts = [np.empty(0, dtype=np.float32)]
    while most > 0:
        block = sound.read(min(most, _FRAMES_AT_ONCE), dtype="float32", always_2d=True)
        if not len(block):
            break
        parts.append(block.mean(axis=1))
        most -= len(block)
    return np.concatenate(parts)


def _resampled(samples: FloatArray, rate: int) -> FloatArray:
    if rate == SAMPLE_RATE:
        return samples
    from scipy.signal import resample_poly

    common = math.gcd(rate, SAMPLE_RATE)
    return np.asarray(resample_poly(samples, SAMPLE_RATE // common, rate // common), np.float32)


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

                from serendip.content.encoders.musicnn import MusicNN, read_bundle

                folder = verify_weights(self.package).parent
                tensors = read_bundle(folder / ".index", folder / ".data-00000-of-00001")
                torch.set_num_threads(num_threads())
                self._module = MusicNN(tensors).to(self._device)
            return _features(files, self._module, self._limits, self._device)


class TorchAudioEncoder(LazyEncoder[Path | None, Any]):
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

    def _load(self) -> LoadedNetwork[Any]:
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
        return LoadedNetwork(module, version, shape[1])

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
