"""Encoder contract: texts, images or sounds to unit vectors; and a base for lazily loaded networks.

A *missing* input is a blank text, or None in place of a file. ``find_present`` masks the others.
The row of a missing input is zeros and must not be used as content.

Shapes: N inputs, P inputs that are present, D vector size.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import numpy as np

from serendip.data.arrays import BoolArray, FloatArray
from serendip.data.limits import MAX_ENCODED_CHARS
from serendip.data.numeric import unit
from serendip.errors import ExtraMissing

EncoderInput: TypeAlias = str | Path | None  # None = the item has no file
InputT = TypeVar("InputT", str, Path | None)
InputT_contra = TypeVar("InputT_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class EncoderIdentity:
    """What tells the vectors of an encoder from others, without its network."""

    name: str
    version: str
    size: int


class Encoder(Protocol[InputT_contra]):
    """Maps inputs to vectors whose dot product is a similarity.

    Encoders load their weights at the first input and are thread-safe.
    """

    @property
    def name(self) -> str:
        """Name in the config and in cache keys."""
        ...

    @property
    def version(self) -> str:
        """Version; must change if the vector of any input changes."""
        ...

    @property
    def size(self) -> int:
        """D, size of the vectors."""
        ...

    def encode(self, inputs: Sequence[InputT_contra]) -> FloatArray:
        """Encode inputs: (N, D) float32, unit rows for inputs that are present, else zeros."""
        ...


TextEncoder: TypeAlias = Encoder[str]
MediaEncoder: TypeAlias = Encoder[Path | None]


def identify(encoder: Encoder[InputT]) -> EncoderIdentity:
    """The identity of an encoder; loads its network."""
    return EncoderIdentity(encoder.name, encoder.version, encoder.size)


def find_present(inputs: Sequence[EncoderInput]) -> BoolArray:
    """Find the inputs that are present (N,): False for a blank text or None."""
    present = (bool(item.strip()) if isinstance(item, str) else item is not None for item in inputs)
    return np.fromiter(present, dtype=np.bool_, count=len(inputs))


def clip_text(text: str) -> str:
    """A text as every encoder reads it, and as its vector is cached.

    It is clipped to ``MAX_ENCODED_CHARS``, which bounds the time that it takes, and has "?" for
    lone surrogates, which tokenizers cannot read. Queries come folded; items are read as they are
    written, since capitals tell names: folded ones cost search by meaning 6 % of nDCG@10.
    """
    return text[:MAX_ENCODED_CHARS].encode("utf-8", "replace").decode("utf-8")


def encode_present(
    inputs: Sequence[InputT], size: int, encode: Callable[[list[InputT]], FloatArray]
) -> FloatArray:
    """Encode the inputs that are present; normalise their rows and leave the others zero.

    Args:
        inputs: N texts or files.
        size: D.
        encode: present inputs -> vectors (P, D) of any norm; not called if P = 0.
    """
    vectors = np.zeros((len(inputs), size), dtype=np.float32)  # (N, D)
    rows = np.flatnonzero(find_present(inputs)).tolist()
    if rows:
        vectors[rows] = unit(encode([inputs[row] for row in rows]))
    return vectors


def import_extra(module: str, hint: str) -> Any:
    """Import an optional package of an encoder.

    Raises:
        ExtraMissing: it cannot be imported; ``hint`` says how to install it.
    """
    try:
        return importlib.import_module(module)
    # RuntimeError and OSError: the package was built for another version of torch.
    except (ImportError, RuntimeError, OSError) as error:
        raise ExtraMissing(f"{module} cannot be imported: {error}.", hint) from None


@dataclass(frozen=True, slots=True)
class LoadedNetwork(Generic[InputT]):
    """Loaded network of a ``LazyEncoder``.

    Args:
        run: encodes inputs that are all present: vectors (P, D) of any norm.
        version: must change with the weights.
        size: D, size of its vectors.
    """

    run: Callable[[list[InputT]], FloatArray]
    version: str
    size: int


class LazyEncoder(Generic[InputT]):
    """Encoder that loads its network at first use and runs in one thread at a time.

    Args:
        load: loads the network onto its device; sent to other processes in place of the network.
        known: version and size, if they are known before the network is loaded.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[], LoadedNetwork[InputT]],
        known: tuple[str, int] | None = None,
    ) -> None:
        self.name = name
        self._load: Callable[[], LoadedNetwork[InputT]] = load
        self._known = known
        self._network: LoadedNetwork[InputT] | None = None
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_network": None, "_lock": None}  # another process loads it itself

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    @property
    def version(self) -> str:
        """Version of the weights; loads the network unless it is known."""
        return self._known[0] if self._known else self._load_once().version

    @property
    def size(self) -> int:
        """D, size of the vectors; loads the network unless it is known."""
        return self._known[1] if self._known else self._load_once().size

    def encode(self, inputs: Sequence[InputT]) -> FloatArray:
        """See ``Encoder.encode``; raises the errors of loading and reading."""
        return encode_present(inputs, self.size, self._encode)

    def _encode(self, inputs: list[InputT]) -> FloatArray:
        network = self._load_once()
        with self._lock:
            return network.run(inputs)

    def _load_once(self) -> LoadedNetwork[InputT]:
        with self._lock:
            if self._network is None:
                self._network = self._load()
        return self._network
