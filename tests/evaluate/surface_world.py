"""A tiny surface whose figures can be worked out by hand."""

import numpy as np

from serendip.evaluate.surface_quality import ALL, Run


def lists(*rows):
    return np.array([[*row, *[-1] * (10 - len(row))] for row in rows], np.int32)


def items(*numbers):
    return np.array(numbers, np.int32)


def part_of(mask, relevant):
    """What is relevant to the requests of a mask (T,)."""
    return [one if inside else items() for one, inside in zip(relevant, mask, strict=True)]


def surface(**changes):
    """Users a (two requests) and b (one) of a catalogue of five items, of which 3 and 4 are new.

    The engine finds 0 at rank 1 and 3 at rank 3 for the first request, nothing for the second, and
    4 at rank 2 for the third.
    """
    counts = np.array([10, 4, 2, 0, 0], np.int32)
    values = {
        "surface": "cart",
        "question": "A half of a basket: does the list have the rest of it?",
        "keys": np.arange(3, dtype=np.uint64),
        "users": np.array(["a", "a", "b"]),
        "parts": {
            ALL: [items(0, 3), items(2), items(4)],
            "cold items": [items(3), items(), items(4)],
            "new users": [items(), items(), items(4)],
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
    return Run(**{**values, **changes})
