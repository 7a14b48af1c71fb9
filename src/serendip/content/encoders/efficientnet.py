"""EfficientNet as an encoder: its last feature map, averaged over the picture."""

from __future__ import annotations

from torch import Tensor, nn


class PooledFeatures(nn.Module):
    """Pictures (B, 3, H, W) -> features (B, D).

    Args:
        network: has ``extract_features``, (B, 3, H, W) -> (B, D, h, w).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.eval()

    def forward(self, pictures: Tensor) -> Tensor:
        """Features of each picture."""
        maps: Tensor = self.network.extract_features(pictures)  # type: ignore[operator]
        return maps.mean((2, 3))
