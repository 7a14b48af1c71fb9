"""A tiny surface whose figures can be worked out by hand."""

import numpy as np

from serendip.evaluate.surface_quality import Slice, SurfaceRuns


def lists(*rows):
    return np.array([[*row, *[-1] * (10 - len(row))] for row in rows], np.int32)


def items(*numbers):
    return np.array(numbers, np.int32)


def slice_of(mask, relevant):
    """The requests of a mask (T,)."""
    rows = np.flatnonzero(mask)
    return Slice(rows, [relevant[row] for row in rows.tolist()])


def surface(**changes):
    """Users a (two requests) and b (one) of a catalogue of five items, of which 3 and 4 are new.

    The engine finds 0 at rank 1 and 3 at rank 3 for the first request, nothing for the second, and
    4 at rank 2 for the third.
    """
    counts = np.array([10, 4, 2, 0, 0], np.int32)
    values = {
        "surface": "cart",
        "question": "A half of a basket: does the list have the rest of it?",
        "relevant": [items(0, 3), items(2), items(4)],
        "users": np.array(["a", "a", "b"]),
        "slices": {
            "cold items": Slice(np.array([0, 2]), [items(3), items(4)]),
            "new users": Slice(np.array([2]), [items(4)]),
        },
        "lists": {
            "engine": lists([0, 1, 3], [], [1, 4]),
            "popularity": lists([0, 1], [0, 1], [0, 1]),
        },
        "counts": counts,
        "is_new": counts == 0,
        "histories": [items(1, 2), items(1, 2), items()],
        "baselines": ["popularity"],
        "possible": 12,
    }
    return SurfaceRuns(**{**values, **changes})
