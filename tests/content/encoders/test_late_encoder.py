from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event, Semaphore

import numpy as np

from serendip.content.encoders.base import LazyEncoder, LoadedNetwork
from serendip.data.arrays import FloatArray


class Lengths(LazyEncoder[str, str]):
    """A word's vector is its length and the network's letter; counts loads."""

    def __init__(self) -> None:
        super().__init__("lengths")
        self.loads = 0

    def _load(self) -> LoadedNetwork[str]:
        self.loads += 1
        return LoadedNetwork("x", f"weights-{self.loads}", 2)

    def _run(self, inputs: list[str], network: str) -> FloatArray:
        return np.array([[len(word), ord(network)] for word in inputs], np.float32)


class Busy(Lengths):
    """Whoever loads or runs stays a while, or until somebody else comes in."""

    def __init__(self) -> None:
        super().__init__()
        self.crowded = Event()
        self._inside = Semaphore(1)

    def _load(self) -> LoadedNetwork[str]:
        self._stay()
        return super()._load()

    def _run(self, inputs: list[str], network: str) -> FloatArray:
        self._stay()
        return super()._run(inputs, network)

    def _stay(self) -> None:
        if self._inside.acquire(blocking=False):
            self.crowded.wait(0.2)
            self._inside.release()
        else:
            self.crowded.set()


def test_nothing_is_loaded_before_it_is_asked_for_and_then_once() -> None:
    encoder = Lengths()
    assert (encoder.name, encoder.loads) == ("lengths", 0)
    assert (encoder.version, encoder.size) == ("weights-1", 2)
    encoder.encode(["a"])
    assert encoder.loads == 1


def test_threads_share_one_network_and_run_it_one_after_the_other() -> None:
    encoder, together = Busy(), Barrier(3)

    def encode(number: int) -> FloatArray:
        together.wait()
        return encoder.encode(["a" * (number + 1)])

    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(encode, range(3)))
    assert encoder.loads == 1
    assert not encoder.crowded.is_set()
    assert [round(float(vectors[0, 0] / vectors[0, 1]) * ord("x")) for vectors in found] == [
        1,
        2,
        3,
    ]
