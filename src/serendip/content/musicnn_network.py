"""The musicnn network in torch: what a music tagger knows just before it names its tags.

Paper: Pons and Serra 2019, "musicnn: pre-trained convolutional neural networks for music audio
tagging" (arXiv:1909.06654). Tall filters hear timbre, long ones rhythm; three residual layers
follow over time, then the maximum and the mean over time. The tags themselves are left out.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from serendip.data.arrays import FloatArray

_EPSILON = 1e-3
_NUM_FRONT, _NUM_MIDDLE = 5, 3


class MusicNN(nn.Module):
    """Log-mel patches (P, T, 96) -> the penultimate layer (P, 200).

    Args:
        tensors: of the published checkpoint, by their names there.
    """

    def __init__(self, tensors: Mapping[str, FloatArray]) -> None:
        super().__init__()
        last = _NUM_FRONT + _NUM_MIDDLE
        self.input_norm = _norm2d(tensors, 0)
        self.convolutions = [_convolution(tensors, number) for number in range(last)]
        self.norms = [_norm2d(tensors, number + 1) for number in range(last)]
        self.layers = nn.ModuleList([*self.convolutions, *self.norms])
        self.pool_norm = _norm1d(tensors, last + 1)
        self.dense = _dense(tensors)
        self.dense_norm = _norm1d(tensors, last + 2)
        self.eval()

    def forward(self, patches: Tensor) -> Tensor:
        """Features of each patch."""
        layer = self._front(patches)
        layers = [layer]
        for number in range(_NUM_FRONT, _NUM_FRONT + _NUM_MIDDLE):
            heard = self._middle(layer, number)
            layer = heard if number == _NUM_FRONT else heard + layer
            layers.append(layer)
        over_time = torch.cat(layers, dim=2)
        # The checkpoint's dense layer reads maximum and mean of each feature side by side.
        pooled = torch.stack([over_time.amax(1), over_time.mean(1)], dim=2).flatten(1)
        features: Tensor = self.dense_norm(functional.relu(self.dense(self.pool_norm(pooled))))
        return features

    def _front(self, patches: Tensor) -> Tensor:
        """Timbre and rhythm, the loudest over the frequencies: (P, T, 561)."""
        picture = self.input_norm(patches[:, None])
        heard = []
        for number in range(_NUM_FRONT):
            heard.append(self._heard(picture, number).amax(3).transpose(1, 2))
        return torch.cat(heard, dim=2)

    def _middle(self, layer: Tensor, number: int) -> Tensor:
        """One layer over time, (P, T, C) -> (P, T, 64)."""
        return self._heard(layer[:, None], number).squeeze(3).transpose(1, 2)

    def _heard(self, picture: Tensor, number: int) -> Tensor:
        """One convolution over a picture padded in time so that T stays: (P, C, T, F)."""
        convolution = self.convolutions[number]
        extra = convolution.weight.shape[2] - 1
        padded = functional.pad(picture, (0, 0, extra // 2, extra - extra // 2))
        found: Tensor = self.norms[number](functional.relu(convolution(padded)))
        return found


def _named(tensors: Mapping[str, FloatArray], layer: str, number: int, part: str) -> Tensor:
    name = f"{layer}_{number}" if number else layer
    return torch.from_numpy(tensors[f"{name}/{part}"].copy())


def _convolution(tensors: Mapping[str, FloatArray], number: int) -> nn.Conv2d:
    kernel = _named(tensors, "conv2d", number, "kernel").permute(3, 2, 0, 1)
    layer = nn.Conv2d(kernel.shape[1], kernel.shape[0], (kernel.shape[2], kernel.shape[3]))
    bias = _named(tensors, "conv2d", number, "bias")
    layer.load_state_dict({"weight": kernel, "bias": bias})
    return layer


def _dense(tensors: Mapping[str, FloatArray]) -> nn.Linear:
    kernel = _named(tensors, "dense", 0, "kernel").T
    layer = nn.Linear(kernel.shape[1], kernel.shape[0])
    layer.load_state_dict({"weight": kernel, "bias": _named(tensors, "dense", 0, "bias")})
    return layer


def _norm1d(tensors: Mapping[str, FloatArray], number: int) -> nn.BatchNorm1d:
    state = _norm_state(tensors, number)
    layer = nn.BatchNorm1d(len(state["weight"]), eps=_EPSILON)
    layer.load_state_dict(state, strict=False)
    return layer


def _norm2d(tensors: Mapping[str, FloatArray], number: int) -> nn.BatchNorm2d:
    state = _norm_state(tensors, number)
    layer = nn.BatchNorm2d(len(state["weight"]), eps=_EPSILON)
    layer.load_state_dict(state, strict=False)
    return layer


def _norm_state(tensors: Mapping[str, FloatArray], number: int) -> dict[str, Tensor]:
    parts = {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_variance",
    }
    return {
        ours: _named(tensors, "batch_normalization", number, theirs)
        for ours, theirs in parts.items()
    }
