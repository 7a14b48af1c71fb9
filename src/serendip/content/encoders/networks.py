"""Networks of pictures and sounds: EfficientNet, pooled, and musicnn.

**musicnn** in torch, up to its penultimate layer, filled from its published checkpoint: Pons and
Serra 2019, "musicnn: pre-trained convolutional neural networks for music audio tagging"
(arXiv:1909.06654). Vertical filters respond to timbre, horizontal ones to rhythm; three residual
layers over time follow, then maximum and mean over time. Difference: no tag outputs.

The values of a TensorFlow checkpoint are float32 numbers, one tensor after the other in the order
of their names; behind a tensor that was trained come the two moments of its optimiser. So the
shapes of the network tell where each tensor lies, in a file whose hash is pinned.

Shapes: P patches, T frames, C channels, F frequencies.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from serendip.data.arrays import FloatArray

_FRONT = ((7, 38, 204), (7, 67, 204), (128, 1, 51), (64, 1, 51), (32, 1, 51))
# Frames, frequencies and channels of the convolutions.
_MIDDLE = ((7, 561, 64), (7, 64, 64), (7, 64, 64))
_POOLED, _FEATURES = 1_506, 200
_EPSILON = 1e-3


class MusicNN(nn.Module):
    """Music tagger without its output layer: log-mel patches (P, T, 96) -> features (P, 200).

    Args:
        values: all values of the published checkpoint, float32.
    """

    def __init__(self, values: FloatArray) -> None:
        super().__init__()
        kernels = (*_FRONT, *_MIDDLE)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(1, channels, (frames, width)) for frames, width, channels in kernels
        )
        sizes = (1, *(channels for _, _, channels in kernels))
        self.norms = nn.ModuleList(nn.BatchNorm2d(size, eps=_EPSILON) for size in sizes)
        self.pool_norm = nn.BatchNorm1d(_POOLED, eps=_EPSILON)
        self.dense = nn.Linear(_POOLED, _FEATURES)
        self.dense_norm = nn.BatchNorm1d(_FEATURES, eps=_EPSILON)
        self._fill(torch.from_numpy(values))
        self.eval()

    @torch.no_grad()
    def _fill(self, values: Tensor) -> None:
        norms: list[nn.Module] = [*self.norms, self.pool_norm, self.dense_norm]
        position = 0
        for number in sorted(range(len(norms)), key=str):
            for name in ("bias", "weight", "running_mean", "running_var"):
                target = getattr(norms[number], name)
                target.copy_(values[position : position + target.numel()])
                position += target.numel() * (3 if name in ("bias", "weight") else 1)
        position += 2  # powers of the optimiser
        for layer in (*self.convolutions, self.dense):
            for target in (layer.bias, layer.weight):
                assert isinstance(target, Tensor)
                part = values[position : position + target.numel()]
                # TensorFlow has outputs last: (height, width, in, out), (in, out).
                outputs = part.reshape(-1, len(target)).T
                target.copy_(part if target.dim() == 1 else outputs.reshape(target.shape))
                position += 3 * target.numel()

    def forward(self, patches: Tensor) -> Tensor:
        """(P, T, 96) -> (P, 200)."""
        layer = self._run_front(patches)  # (P, T, 561)
        layers = [layer]
        for number in range(len(_FRONT), len(self.convolutions)):
            branch = self._run_middle(layer, number)  # (P, T, 64)
            layer = branch if number == len(_FRONT) else branch + layer
            layers.append(layer)
        over_time = torch.cat(layers, dim=2)  # (P, T, 561 + 3 * 64)
        # In the checkpoint's dense layer, maximum and mean of a feature are adjacent inputs.
        pooled = torch.stack([over_time.amax(1), over_time.mean(1)], dim=2).flatten(1)
        features: Tensor = self.dense_norm(functional.relu(self.dense(self.pool_norm(pooled))))
        return features

    def _run_front(self, patches: Tensor) -> Tensor:
        """Timbre and rhythm filters, max-pooled over frequencies: (P, T, 96) -> (P, T, 561)."""
        image = self.norms[0](patches[:, None])  # (P, 1, T, 96)
        branches = []
        for number in range(len(_FRONT)):
            branches.append(self._convolve(image, number).amax(3).transpose(1, 2))  # (P, T, C)
        return torch.cat(branches, dim=2)

    def _run_middle(self, layer: Tensor, number: int) -> Tensor:
        return self._convolve(layer[:, None], number).squeeze(3).transpose(1, 2)  # (P, T, 64)

    def _convolve(self, image: Tensor, number: int) -> Tensor:
        """Convolution, ReLU and batch norm; padded in time so that T stays: (P, C, T, F)."""
        padding = (_FRONT + _MIDDLE)[number][0] - 1
        padded = functional.pad(image, (0, 0, padding // 2, padding - padding // 2))
        output: Tensor = self.norms[number + 1](functional.relu(self.convolutions[number](padded)))
        return output


class PooledFeatures(nn.Module):
    """Global average pooling of a feature map: images (B, 3, H, W) -> features (B, D).

    Args:
        network: has ``extract_features``, (B, 3, H, W) -> (B, D, h, w).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.eval()

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, D)."""
        maps: Tensor = self.network.extract_features(images)  # type: ignore[operator]
        return maps.mean((2, 3))  # (B, D, h, w) -> (B, D)
