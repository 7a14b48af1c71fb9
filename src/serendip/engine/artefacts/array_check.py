"""Finds values that are no numbers (NaN) among the arrays of a generation.

One of them would be in every score that is computed with it, and an order of such scores means
nothing. Checksums only tell that a file is as it was written. An infinite value may mean something:
that an item has no end.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from serendip.data.rows.strings import map_array
from serendip.errors import ArtefactError

_BLOCK = 1 << 20
"""Values that are looked at together."""


def find_nan(folder: Path) -> str:
    """File and place of the first value that is no number below a folder; empty = there is none.

    Raises:
        ArtefactError: an array cannot be read.
    """
    for path in sorted(folder.rglob("*.npy")):
        array = map_array(path)
        if array.dtype.kind != "f":
            continue
        values = array.reshape(-1)
        for begin in range(0, len(values), _BLOCK):
            found = np.flatnonzero(np.isnan(values[begin : begin + _BLOCK]))
            if len(found):
                place = np.unravel_index(begin + int(found[0]), array.shape)
                return f"{path.relative_to(folder)} has NaN at {tuple(map(int, place))}"
    return ""


def require_no_nan(folder: Path) -> None:
    """Check that no array of floats of a generation has a value that is no number.

    Raises:
        ArtefactError: one has, or cannot be read.
    """
    hint = "Run `serendip rollback`, or train again."
    try:
        found = find_nan(folder)
    except ArtefactError as error:
        raise ArtefactError(error.message, hint) from None
    if found:
        raise ArtefactError(f"{folder}/{found}.", hint)
