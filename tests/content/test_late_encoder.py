from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Lock

import numpy as np

from serendip.content.late_encoder import LateEncoder, Loaded
from serendip.data.arrays import FloatArray


class Lengths(LateEncoder[str, str]):
    """A word's vector is its length and the network's letter; counts loads and overlaps."""

    def __init__(self) -> None:
        super().__init__("lengths")
        self.loads = 0
        self.overlapped = False
        self._running = Lock()

    def _load(self) -> Loaded[str]:
        self.loads += 1
        return Loaded("x", f"weights-{self.loads}", 2)

    def _run(self, inputs: list[str], network: str) -> FloatArray:
        self.overlapped |= not self._running.acquire(blocking=False)
        vectors = np.array([[len(word), ord(network)] for word in inputs], np.float32)
        if not self.overlapped:
            self._running.release()
        return vectors


def test_nothing_is_loaded_before_it_is_asked_for_and_then_once() -> None:
    encoder = Lengths()
    assert (encoder.name, encoder.loads) == ("lengths", 0)
    assert (encoder.version, encoder.size) == ("weights-1", 2)
    encoder.encode(["a"])
    assert encoder.loads == 1


def test_what_is_missing_is_a_zero_vector_in_its_place() -> None:
    vectors = Lengths().encode(["four", "", "to"])
    expected = np.array([[4, 120], [0, 0], [2, 120]], np.float32)
    lengths = np.maximum(np.linalg.norm(expected, axis=1, keepdims=True), 1)
    np.testing.assert_allclose(vectors, expected / lengths, rtol=1e-6)


def test_threads_share_one_network_and_run_it_one_after_the_other() -> None:
    encoder, together = Lengths(), Barrier(8)

    def encode(number: int) -> FloatArray:
        together.wait()
        return encoder.encode(["a" * (number + 1)] * 2_000)

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(encode, range(8)))
    assert encoder.loads == 1
    assert not encoder.overlapped
    assert all(len(np.unique(vectors, axis=0)) == 1 for vectors in found)
