"""Finds values that are no numbers (NaN) among the arrays of a generation.

One of them would be in every score that is computed with it, and an order of such scores means
nothing. Checksums only tell that a file is as it was written. An infinite value may mean something:
that an item has no end.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from serendip.errors import ArtefactError

_BLOCK = 1 << 20
"""Values that are looked at together."""


def require_numbers(folder: Path) -> None:
    """Check that no array of floats below a folder has a value that is no number.

    Raises:
        ArtefactError: one has, or cannot be read.
    """
    for path in sorted(folder.rglob("*.npy")):
        try:
            array = np.load(path, mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise _error(path, f"is no array: {error}") from None
        if array.dtype.kind != "f":
            continue
        values = array.reshape(-1)
        for begin in range(0, len(values), _BLOCK):
            found = np.flatnonzero(np.isnan(values[begin : begin + _BLOCK]))
            if len(found):
                place = np.unravel_index(begin + int(found[0]), array.shape)
                raise _error(path, f"has NaN at {tuple(map(int, place))}")


def _error(path: Path, what: str) -> ArtefactError:
    return ArtefactError(f"{path} {what}.", "Run `serendip rollback`, or train again.")
