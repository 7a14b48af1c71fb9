"""Audio encoders: audio files to unit vectors, the mean over three-second patches.

The networks run in torch, at training only; the service never decodes audio. Files are not trusted:
bytes, length, channels and formats are limited.

The input is a log-mel spectrogram, computed in numpy: 96 triangular filters of area 1 on Slaney's
mel scale, over the power spectrum of frames of 512 samples (periodic Hann window, hop of 256
samples, reflection padding), then ``log10(10000 m + 1)``, as in the training of musicnn.

Shapes: N files, S samples, T frames, P patches of a file, D vector size.
"""

from __future__ import annotations

import importlib
import io
import math
from functools import cache, partial
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
    import_extra,
)
from serendip.content.encoders.media_files import read_bounded
from serendip.content.encoders.weights import hash_module, verify_weights
from serendip.data.arrays import FloatArray
from serendip.errors import ConfigError, DataError
from serendip.runtime.threads import num_threads

SAMPLE_RATE = 16_000
FRAME, HOP, NUM_MELS = 512, 256, 96
PATCH_SECONDS = 3
PATCH_FRAMES = 1 + (PATCH_SECONDS * SAMPLE_RATE - FRAME // 2) // HOP  # 187
_LINEAR_HZ, _BREAK_HZ = 200 / 3, 1000.0
_LOG_STEP = np.log(6.4) / 27  # natural logarithm per mel of Slaney's scale above 1 kHz


def compute_log_mel(samples: FloatArray) -> FloatArray:
    """Log-mel spectrogram (T, 96) float32 of samples (S,) at 16 kHz; T = 1 + S // 256, S > 256."""
    padded = np.pad(samples, FRAME // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]  # (T, 512)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)  # (512,)
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2  # (T, 257)
    return np.log10(10_000 * (power @ build_mel_filters().T) + 1).astype(np.float32)  # (T, 96)


def split_into_patches(samples: FloatArray) -> FloatArray:
    """Split samples (S,) into log-mel patches (P, 187, 96); shorter audio is repeated."""
    patch_samples = PATCH_SECONDS * SAMPLE_RATE
    if len(samples) < patch_samples:
        samples = np.resize(samples, patch_samples)
    spectrogram = compute_log_mel(samples)  # (T, 96)
    count = len(spectrogram) // PATCH_FRAMES
    return spectrogram[: count * PATCH_FRAMES].reshape(count, PATCH_FRAMES, NUM_MELS)


@cache
def build_mel_filters() -> FloatArray:
    """Mel filters (96, 257) float32: weights of the frequencies from 0 to 8,000 Hz."""
    frequencies = np.linspace(0, SAMPLE_RATE / 2, FRAME // 2 + 1)  # (257,)
    corners = _to_hz(np.linspace(0, _to_mel(SAMPLE_RATE / 2), NUM_MELS + 2))  # (98,)
    rising = (frequencies - corners[:-2, None]) / np.diff(corners)[:-1, None]  # (96, 257)
    falling = (corners[2:, None] - frequencies) / np.diff(corners)[1:, None]  # (96, 257)
    triangles = np.maximum(0, np.minimum(rising, falling))
    # Slaney's normalisation: area 1 per filter.
    return np.asarray(triangles * (2 / (corners[2:] - corners[:-2]))[:, None], dtype=np.float32)


def _to_mel(hz: float) -> float:
    if hz < _BREAK_HZ:  # linear up to 1 kHz, logarithmic above
        return hz / _LINEAR_HZ
    return float(_BREAK_HZ / _LINEAR_HZ + np.log(hz / _BREAK_HZ) / _LOG_STEP)


def _to_hz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    break_mel = _BREAK_HZ / _LINEAR_HZ
    above = _BREAK_HZ * np.exp(_LOG_STEP * (mels - break_mel))
    return np.where(mels < break_mel, mels * _LINEAR_HZ, above)


FORMATS = ("WAV", "FLAC", "OGG", "MP3", "AIFF")
HINT = 'Run `pip install "serendip[audio]"`.'

_MIN_RATE, _MAX_RATE, _MAX_CHANNELS = 4_000, 192_000, 8
_BLOCK_FRAMES = 1 << 16


def read_sound(path: Path, max_bytes: int, max_seconds: float) -> FloatArray:
    """Read the beginning of an audio file as mono at 16 kHz, values in [-1, 1].

    A file is decoded block by block, at most ``max_seconds`` of it, whatever its header says.

    Args:
        path: WAV, FLAC, Ogg, MP3 or AIFF, recognised by content, not by name.
        max_bytes: largest allowed file.
        max_seconds: maximum length; the rest is ignored.

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
            _check_header(path, sound)
            rate = int(sound.samplerate)
            mono = _read_frames(sound, int(max_seconds * rate))
    except (soundfile.LibsndfileError, OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        allowed = ", ".join(FORMATS)
        raise DataError(
            f"{path} is not audio in a supported format: {error}", f"Use {allowed}."
        ) from None
    if not len(mono) or not np.isfinite(mono).all():
        raise DataError(
            f"{path} is audio without samples, or with samples that are not finite.", "Replace it."
        )
    return _resample(np.clip(mono, -1, 1), rate)


def _check_header(path: Path, sound: Any) -> None:
    # Checked before the file is decoded.
    if sound.format not in FORMATS:
        raise DataError(f"{path} is {sound.format}.", f"Use {', '.join(FORMATS)}.")
    if not _MIN_RATE <= sound.samplerate <= _MAX_RATE:
        raise DataError(
            f"{path} has {sound.samplerate} samples per second.",
            f"Use {_MIN_RATE:,} to {_MAX_RATE:,}.",
        )
    if sound.channels > _MAX_CHANNELS:
        raise DataError(f"{path} has {sound.channels} channels.", f"Use {_MAX_CHANNELS} or fewer.")


def _read_frames(sound: Any, max_frames: int) -> FloatArray:
    parts = [np.empty(0, dtype=np.float32)]
    while max_frames > 0:
        block = sound.read(min(max_frames, _BLOCK_FRAMES), dtype="float32", always_2d=True)
        if not len(block):  # (S,)
            break
        parts.append(block.mean(axis=1))  # (block, channels) -> (block,)
        max_frames -= len(block)
    return np.concatenate(parts)


def _resample(samples: FloatArray, rate: int) -> FloatArray:
    if rate == SAMPLE_RATE:
        return samples
    from scipy.signal import resample_poly

    divisor = math.gcd(rate, SAMPLE_RATE)
    return np.asarray(resample_poly(samples, SAMPLE_RATE // divisor, rate // divisor), np.float32)


MUSICNN, _FAMILY = "musicnn", "torch"


class AudioConfig(Config):
    """``[content.audio]``: audio encoder, item field and limits of files."""

    encoder: str = MUSICNN
    """``musicnn``, or ``torch:<module>:<callable>`` for your own network: the callable returns a
    torch module that maps log-mel patches (P, 187, 96) to (P, D)."""

    field: str = "audio"
    """Item attribute with the path of the audio file, relative to the workspace."""

    max_bytes: int = Field(default=50_000_000, ge=1)
    """Largest allowed file; larger ones are not used."""

    max_seconds: float = Field(default=60.0, gt=0, le=3600)
    """Length that is encoded; the rest of a file is ignored."""

    def read(self, path: Path) -> FloatArray:
        """Read the samples (S,) of a file within these limits.

        Raises:
            DataError: it is too large, of another format or broken.
            ExtraMissing: soundfile is not installed.
        """
        return read_sound(path, self.max_bytes, self.max_seconds)


def load_audio_network(config: AudioConfig, device: str) -> LoadedNetwork[Path | None]:
    """Load the network that a config names; a vector is the mean over the patches of a file.

    ``musicnn`` gives features of a music tagger, 40 times as fast as real time on one core: made
    for music and instruments, it distinguishes speech and noises less well. Any other module for
    log-mel patches, such as a VGGish, is named ``torch:<module>:<callable>``; the named code runs
    with all rights, as any plugin does. The version is a hash of the weights, and the length that
    is encoded.

    Raises:
        ExtraMissing: soundfile or the package with the weights is not installed.
        ArtefactError: the installed weights are not those of ``models.lock``.
        ConfigError: there is no such module, or it does not map patches to vectors.
    """
    torch = import_extra("torch", HINT)
    torch.set_num_threads(num_threads())
    module = _build_module(config.encoder).eval().to(device)
    probe = torch.zeros(1, PATCH_FRAMES, NUM_MELS, device=device)  # (1, 187, 96)
    with torch.inference_mode():
        shape = tuple(module(probe).shape)
    if len(shape) != 2 or shape[0] != 1:
        raise ConfigError(
            f"{config.encoder} maps a patch of shape {tuple(probe.shape)} to {shape}.",
            "It must map (P, 187, 96) to (P, D).",
        )

    def encode_file(file: Path) -> FloatArray:
        patches = split_into_patches(config.read(file))  # (P, 187, 96)
        with torch.inference_mode():
            vector = module(torch.from_numpy(patches).to(device)).mean(0)  # (D,)
        return np.asarray(vector.cpu().numpy(), np.float32)

    def run(files: list[Path | None]) -> FloatArray:
        return np.stack([encode_file(file) for file in filter(None, files)])

    return LoadedNetwork(run, f"{hash_module(module)}-{config.max_seconds:g}s", shape[1])


def _build_module(name: str) -> Any:
    """The network of an encoder: that of musicnn, or what the named callable returns.

    Raises:
        ConfigError: it cannot be imported.
    """
    if name == MUSICNN:
        from serendip.content.encoders.networks import MusicNN

        return MusicNN(np.fromfile(verify_weights(MUSICNN), "<f4"))
    _, module, attribute = name.split(":")
    try:
        return getattr(importlib.import_module(module), attribute)()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"audio encoder {name!r} cannot be imported: {error}.",
            "Give `torch:<module>:<callable>` of an installed module.",
        ) from None


def open_audio_encoder(config: AudioConfig, device: str = "cpu") -> MediaEncoder:
    """Create the encoder that a config names; weights are loaded at the first file.

    Raises:
        ConfigError: no encoder has this name.
    """
    parts = config.encoder.split(":")
    is_named = parts[0] == _FAMILY and len(parts) == 3 and all(parts)
    if config.encoder == MUSICNN or is_named:
        return LazyEncoder(config.encoder, partial(load_audio_network, config, device))
    raise ConfigError(
        f"no audio encoder is called {config.encoder!r}.",
        f"Known: {MUSICNN}, {_FAMILY}:<module>:<callable>.",
    )
