"""Encoder contract: texts, images or sounds to unit vectors; and a base for lazily loaded networks.

An input that an item lacks is *missing*: a blank text, or None in place of a file. ``present_rows``
is the mask of the others; the row of a missing input is filler that no reader may use as content,
and never noise that resembles it.

``LazyEncoder`` is a base for encoders whose version and size are known only from loaded weights.
"""

from __future__ import annotations

import importlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import numpy as np

from serendip.data.arrays import BoolArray, FloatArray
from serendip.data.limits import MAX_ENCODED_CHARS
from serendip.data.numeric import unit
from serendip.errors import ExtraMissing

EncoderInput: TypeAlias = str | Path | None
"""A text, or a file; None = the item has no file."""

InputT = TypeVar("InputT", str, Path | None)
InputT_contra = TypeVar("InputT_contra", contravariant=True)


class Encoder(Protocol[InputT_contra]):
    """Turns inputs into vectors whose dot product is a likeness.

    Encoders load their weights at the first input and are safe to share between threads.
    """

    @property
    def name(self) -> str:
        """Name in the config and in cache keys."""
        ...

    @property
    def version(self) -> str:
        """Changes whenever the same input would get another vector."""
        ...

    @property
    def size(self) -> int:
        """D."""
        ...

    def encode(self, inputs: Sequence[InputT_contra]) -> FloatArray:
        """Vectors (N, D) float32: unit rows where an input is present, filler zeros elsewhere."""
        ...


TextEncoder: TypeAlias = Encoder[str]
MediaEncoder: TypeAlias = Encoder[Path | None]


def present_rows(inputs: Sequence[EncoderInput]) -> BoolArray:
    """(N,) bool: False where a text is blank or there is no file."""
    present = (bool(one.strip()) if isinstance(one, str) else one is not None for one in inputs)
    return np.fromiter(present, dtype=np.bool_, count=len(inputs))


def readable(text: str) -> str:
    """What an encoder reads of a text: its beginning, the same for a long text as for a book.

    A lone surrogate is no text that a tokenizer could read; "?" stands in for it.
    """
    return text[:MAX_ENCODED_CHARS].encode("utf-8", "replace").decode("utf-8")


def encode_present(
    inputs: Sequence[InputT], size: int, encode: Callable[[list[InputT]], FloatArray]
) -> FloatArray:
    """Run ``encode`` over the inputs that are present and put its rows, made unit, in place.

    Args:
        inputs: N texts or files.
        size: D.
        encode: present inputs -> vectors (P, D) of any length; not called where P = 0.
    """
    vectors = np.zeros((len(inputs), size), dtype=np.float32)
    rows = np.flatnonzero(present_rows(inputs)).tolist()
    if rows:
        vectors[rows] = unit(encode([inputs[row] for row in rows]))
    return vectors


def import_extra(module: str, hint: str) -> Any:
    """Import a package that an encoder needs and the base installation lacks.

    Raises:
        ExtraMissing: it cannot be imported; ``hint`` says how to get it.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, RuntimeError, OSError) as error:  # Built for another torch, too.
        raise ExtraMissing(f"{module} cannot be imported: {error}.", hint) from None


NetworkT = TypeVar("NetworkT")


@dataclass(frozen=True, slots=True)
class LoadedNetwork(Generic[NetworkT]):
    """A network that is ready.

    Args:
        network: whatever the encoder runs.
        version: changes with the weights.
        size: D of its vectors.
    """

    network: NetworkT
    version: str
    size: int


class LazyEncoder(ABC, Generic[InputT, NetworkT]):
    """Loads once, when anything is first asked of it, and runs in one thread at a time.

    Args:
        name: in the config and in cache keys.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._ready: LoadedNetwork[NetworkT] | None = None
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

    def _loaded(self) -> LoadedNetwork[NetworkT]:
        with self._lock:
            if self._ready is None:
                self._ready = self._load()
        return self._ready

    @abstractmethod
    def _load(self) -> LoadedNetwork[NetworkT]:
        """The network, on its device."""

    @abstractmethod
    def _run(self, inputs: list[InputT], network: NetworkT) -> FloatArray:
        """Vectors (P, D) of inputs that are all there; of any length."""
