"""EfficientNet as an encoder: its last feature map, averaged over the image. Torch."""

from __future__ import annotations

from torch import Tensor, nn


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
