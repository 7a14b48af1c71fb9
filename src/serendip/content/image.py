"""Image encoders: from the file of a picture to a unit vector.

The networks run in torch, at training only; a service never decodes a picture.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from serendip.config import Config
from serendip.content.encoder import MediaEncoder, encode_present
from serendip.content.image_file import read_image
from serendip.content.image_networks import (
    ImageNetwork,
    efficientnet_lite0,
    timm_network,
    torchvision_network,
)
from serendip.content.late_encoder import LateEncoder, Loaded
from serendip.content.torch_weights import module_digest
from serendip.data.arrays import FloatArray
from serendip.errors import ConfigError

BATCH = 16
_FAMILIES = {"torchvision": torchvision_network, "timm": timm_network}


class ImageConfig(Config):
    """``[content.image]``: which encoder reads which pictures."""

    encoder: str = "efficientnet-lite0"
    """``efficientnet-lite0``, or ``torchvision:<name>`` or ``timm:<name>`` where these are
    installed."""

    field: str = "image"
    """Item attribute that holds the path of the picture, relative to the workspace."""

    max_bytes: int = Field(default=20_000_000, ge=1)
    """Larger files are refused."""

    max_pixels: int = Field(default=40_000_000, ge=1, le=89_478_485)
    """Pictures of more pixels are refused before they are unpacked."""

    def read(self, path: Path) -> Any:
        """The picture of a file, within these limits.

        Raises:
            DataError: it is too large, of another format or broken.
            ExtraMissing: pillow is not installed.
        """
        return read_image(path, self.max_bytes, self.max_pixels)


class EfficientNetLite0:
    """Pooled features of a small ImageNet classifier, about 20 pictures per CPU-second.

    Paper: Tan and Le 2019, "EfficientNet" (arXiv:1905.11946); the lite variant has no
    squeeze-and-excitation.

    Args:
        limits: what may be decoded.
        folder: where the converted weights are kept.
        device: torch's name of where it runs.
    """

    name = "efficientnet-lite0"
    version = "0.1.0"
    size = 1280

    def __init__(self, limits: ImageConfig, folder: Path, device: str = "cpu") -> None:
        self._limits, self._folder, self._device = limits, folder, device
        self._network: ImageNetwork | None = None
        self._lock = threading.Lock()

    def encode(self, inputs: Sequence[Path | None]) -> FloatArray:
        """See ``Encoder.encode``.

        Raises:
            DataError: a file is too large, of another format or broken.
            ExtraMissing: a package of the extra ``image`` is not installed.
            ArtefactError: the installed weights are not those of ``models.lock``.
        """
        return encode_present(inputs, self.size, self._encode)

    def _encode(self, files: list[Path | None]) -> FloatArray:
        with self._lock:
            if self._network is None:
                self._network = efficientnet_lite0(self._folder)
                self._network.module.to(self._device)
            return _features(files, self._network, self._limits, self._device)


class NamedImageEncoder(LateEncoder[Path | None, ImageNetwork]):
    """Any network of torchvision or timm with its own pretrained weights and preparation.

    Those packages are used where they are installed, and fetch their weights themselves. The
    version is a hash of the weights.

    Args:
        name: family and name of the network, such as ``timm:resnet50.a1_in1k``.
        limits: what may be decoded.
        device: torch's name of where it runs.

    Raises, when it is first asked:
        ExtraMissing: the family's package is not installed.
        ConfigError: it has no such network, or cannot fetch its weights.
    """

    def __init__(self, name: str, limits: ImageConfig, device: str = "cpu") -> None:
        super().__init__(name)
        self._limits, self._device = limits, device

    def _load(self) -> Loaded[ImageNetwork]:
        family, _, model = self.name.partition(":")
        network = _FAMILIES[family](model)
        version = module_digest(network.module)
        network.module.to(self._device)
        return Loaded(network, version, network.output_size(self._device))

    def _run(self, inputs: list[Path | None], network: ImageNetwork) -> FloatArray:
        return _features(inputs, network, self._limits, self._device)


def _features(
    files: Sequence[Path | None], network: ImageNetwork, limits: ImageConfig, device: str
) -> FloatArray:
    """(N, D) of files that are all there, decoded and run a batch at a time."""
    import torch

    parts = []
    for begin in range(0, len(files), BATCH):
        prepared = [
            network.prepare(limits.read(file))
            for file in files[begin : begin + BATCH]
            if file is not None
        ]
        with torch.inference_mode():
            found = network.module(torch.stack(prepared).to(device))
        parts.append(found.cpu().numpy().astype(np.float32))
    return np.concatenate(parts)


def open_image_encoder(config: ImageConfig, folder: Path, device: str = "cpu") -> MediaEncoder:
    """The encoder that a config names; weights are loaded at the first picture.

    Args:
        config: which one.
        folder: where converted weights are kept.
        device: torch's name of where it runs.

    Raises:
        ConfigError: no encoder has this name.
    """
    if config.encoder == EfficientNetLite0.name:
        return EfficientNetLite0(config, folder, device)
    family, _, model = config.encoder.partition(":")
    if family in _FAMILIES and model:
        return NamedImageEncoder(config.encoder, config, device)
    known = ", ".join([EfficientNetLite0.name, *(f"{name}:<name>" for name in _FAMILIES)])
    raise ConfigError(f"no image encoder is called {config.encoder!r}.", f"Known: {known}.")
