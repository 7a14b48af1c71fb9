from copy import copy

import numpy as np

from serendip.content.encoders.base import LazyEncoder, LoadedNetwork
from serendip.data.arrays import FloatArray


class Lengths(LazyEncoder[str]):
    """A word's vector is its length and one; counts loads."""

    def __init__(self) -> None:
        super().__init__("lengths", lambda: self.load())
        self.loads = 0

    def load(self) -> LoadedNetwork[str]:
        assert self._lock.locked(), "threads share the network"
        self.loads += 1
        return LoadedNetwork(self.run, f"weights-{self.loads}", 2)

    def run(self, inputs: list[str]) -> FloatArray:
        assert self._lock.locked(), "and run it one after the other"
        return np.array([[len(word), 1] for word in inputs], np.float32)


def test_nothing_is_loaded_before_it_is_asked_for_and_then_once() -> None:
    encoder = Lengths()
    assert (encoder.name, encoder.loads) == ("lengths", 0)
    assert (encoder.version, encoder.size) == ("weights-1", 2)
    encoder.encode(["a"])
    assert encoder.loads == 1
    assert copy(encoder)._network is None  # as it is sent to a task of an executor
