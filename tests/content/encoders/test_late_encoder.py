from copy import copy

import numpy as np

from serendip.content.encoders.base import LazyEncoder, LoadedNetwork
from serendip.data.arrays import FloatArray


class Lengths(LazyEncoder[str, str]):
    """A word's vector is its length and the network's letter; counts loads."""

    def __init__(self) -> None:
        super().__init__("lengths")
        self.loads = 0

    def _load(self) -> LoadedNetwork[str]:
        assert self._lock.locked(), "threads share the network"
        self.loads += 1
        return LoadedNetwork("x", f"weights-{self.loads}", 2)

    def _run(self, inputs: list[str], network: str) -> FloatArray:
        assert self._lock.locked(), "and run it one after the other"
        return np.array([[len(word), ord(network)] for word in inputs], np.float32)


def test_nothing_is_loaded_before_it_is_asked_for_and_then_once() -> None:
    encoder = Lengths()
    assert (encoder.name, encoder.loads) == ("lengths", 0)
    assert (encoder.version, encoder.size) == ("weights-1", 2)
    encoder.encode(["a"])
    assert encoder.loads == 1
    other = copy(encoder)  # as it is sent to a task of an executor
    assert np.array_equal(other.encode(["a"]), encoder.encode(["a"]))
    assert (encoder.loads, other.loads) == (1, 2)
