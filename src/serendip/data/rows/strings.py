"""Columns of strings as bytes and offsets, which are memory-mapped, and their exact look-up.

``Strings`` is a sequence of strings that decodes what is asked for. ``StringIndex`` finds the row
of a string by a binary search over hashes; it compares the string itself, so there are no false
hits. A sorted column is searched with ``bisect``: the order of the bytes is that of the strings.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self, overload

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import IntArray
from serendip.data.artefact import Artefact

_PART = 65_536  # decoded at once in a loop over a column


class Strings(Sequence[str], Artefact):
    """An immutable sequence of N strings: their UTF-8 (T,), and N + 1 offsets of them."""

    __slots__ = ("_offsets", "_view", "starts", "text")

    def __init__(self, text: NDArray[np.uint8], starts: NDArray[np.int64]) -> None:
        self.text, self.starts = np.asarray(text), np.asarray(starts)
        self._view, self._offsets = self.text.data, self.starts.data

    @classmethod
    def of(cls, strings: Iterable[str]) -> Self:
        """Encode strings."""
        encoded = [string.encode("utf-8", "surrogatepass") for string in strings]
        starts = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum([len(part) for part in encoded], out=starts[1:])
        return cls(np.frombuffer(b"".join(encoded), np.uint8), starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    @overload
    def __getitem__(self, key: int) -> str: ...
    @overload
    def __getitem__(self, key: slice) -> list[str]: ...
    def __getitem__(self, key: int | slice) -> str | list[str]:
        if isinstance(key, slice):
            return [self[row] for row in range(*key.indices(len(self)))]
        row = key if key >= 0 else key + len(self)
        if not 0 <= row < len(self.starts) - 1:
            raise IndexError(f"row {key} of {len(self)} strings")
        begin, end = self._offsets[row], self._offsets[row + 1]
        return str(self._view[begin:end], "utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        for begin in range(0, len(self), _PART):
            yield from self[begin : begin + _PART]

    def take(self, rows: Iterable[int]) -> list[str]:
        """The strings of some rows, in their order."""
        return [self[row] for row in rows]

    def stored(self) -> dict[str, Any]:
        """See ``Artefact``."""
        return {"text": self.text, "starts": self.starts}


class StringIndex(Mapping[str, int], Artefact):
    """String -> its row in a column of N distinct strings.

    ``hashes`` (N,) of the strings are ascending, ``rows`` (N,) has the row of each.
    """

    __slots__ = ("_hash_view", "_row_view", "hashes", "rows", "strings")

    def __init__(self, strings: Strings, hashes: NDArray[np.uint32], rows: IntArray) -> None:
        self.strings, self.hashes, self.rows = strings, np.asarray(hashes), np.asarray(rows)
        self._hash_view, self._row_view = self.hashes.data, self.rows.data

    @classmethod
    def of(cls, strings: Strings) -> Self:
        """Hash all strings of a column."""
        hashes = np.fromiter(map(_hash, strings), np.uint32, len(strings))
        rows = np.argsort(hashes, kind="stable").astype(np.int32)
        return cls(strings, hashes[rows], rows)

    def find(self, string: str) -> int:
        """The row of a string, or -1."""
        wanted = _hash(string)
        place = bisect_left(self._hash_view, wanted)
        while place < len(self._hash_view) and self._hash_view[place] == wanted:
            row = self._row_view[place]
            if self.strings[row] == string:
                return int(row)
            place += 1
        return -1

    def __getitem__(self, string: str) -> int:
        row = self.find(string)
        if row < 0:
            raise KeyError(string)
        return row

    def __len__(self) -> int:
        return len(self.strings)

    def __iter__(self) -> Iterator[str]:
        return iter(self.strings)

    def stored(self) -> dict[str, Any]:
        """See ``Artefact``."""
        return {"strings": self.strings, "hashes": self.hashes, "rows": self.rows}


def _hash(string: str) -> int:
    return zlib.crc32(string.encode("utf-8", "surrogatepass"))
