"""A base for encoders of which only the loaded weights tell the version and the size."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from serendip.content.encoder import InputT, encode_present
from serendip.data.arrays import FloatArray

NetworkT = TypeVar("NetworkT")


@dataclass(frozen=True, slots=True)
class Loaded(Generic[NetworkT]):
    """A network that is ready.

    Args:
        network: whatever the encoder runs.
        version: changes with the weights.
        size: D of its vectors.
    """

    network: NetworkT
    version: str
    size: int


class LateEncoder(ABC, Generic[InputT, NetworkT]):
    """Loads once, when anything is first asked of it, and runs in one thread at a time.

    Args:
        name: in the config and in cache keys.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._ready: Loaded[NetworkT] | None = None
        self._lock = threading.Lock()

    @property
    def version(self) -> str:
        """Changes with the weights."""
        return self._loaded().version

    @property
    def size(self) -> int:
        """D."""
        return self._loaded().size

    def encode(self, inputs: Sequence[InputT]) -> FloatArray:
        """See ``Encoder.encode``; raises what loading and reading do."""
        return encode_present(inputs, self.size, self._encode)

    def _encode(self, inputs: list[InputT]) -> FloatArray:
        network = self._loaded().network
        with self._lock:
            return self._run(inputs, network)

    def _loaded(self) -> Loaded[NetworkT]:
        with self._lock:
            if self._ready is None:
                self._ready = self._load()
        return self._ready

    @abstractmethod
    def _load(self) -> Loaded[NetworkT]:
        """The network, on its device."""

    @abstractmethod
    def _run(self, inputs: list[InputT], network: NetworkT) -> FloatArray:
        """Vectors (P, D) of inputs that are all there; of any length."""
