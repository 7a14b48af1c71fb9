"""Rows as Arrow tables, and numbers as Arrow arrays.

``pyarrow.array`` and ``pyarrow.table`` import pandas where it is installed, which takes longer than
opening a generation: what a service does makes arrays of buffers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa


_CHUNK = 50_000

TEXT_CODES = "codes"  # a column of texts that has each of them once


def tabulate(rows: Iterable[Sequence[Any]], types: Mapping[str, str]) -> pa.Table:
    """Build a table from rows of values, in their order; types are ``TEXT_CODES`` or Arrow's."""
    import pyarrow as pa

    codes = pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema([(name, codes if one == TEXT_CODES else one) for name, one in types.items()])
    left, parts = iter(rows), []
    while part := list(islice(left, _CHUNK)):
        parts.append(pa.table(list(zip(*part, strict=True)), schema=schema))
    return pa.concat_tables(parts) if parts else schema.empty_table()


def to_arrow(values: NDArray[Any]) -> pa.Array:
    """Numbers (N,) int32, int64 or float64 as an Arrow array that shares their memory."""
    import pyarrow as pa

    whole = np.ascontiguousarray(values)
    kind = pa.from_numpy_dtype(whole.dtype)
    return pa.Array.from_buffers(kind, len(whole), [None, pa.py_buffer(whole)])
