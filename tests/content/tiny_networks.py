"""Networks that a config may name in tests: ``torch:tiny_networks:mel_mean``."""

import torch


class MelMean(torch.nn.Module):
    """(P, T, 96) -> (P, 96), the mean over time."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(96))

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        return patches.mean(1) * self.scale


def mel_mean() -> torch.nn.Module:
    return MelMean()


def doubled() -> torch.nn.Module:
    network = MelMean()
    torch.nn.init.constant_(network.scale, 2)
    return network


def not_vectors() -> torch.nn.Module:
    return torch.nn.Identity()
