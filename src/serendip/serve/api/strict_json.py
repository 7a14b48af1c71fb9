"""Strict JSON parser.

Python's parser accepts NaN, Infinity, numbers that overflow and duplicate keys, and nests as deep
as its stack. All are refused here with a message that names the problem. Texts are checked by the
types of the fields.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

from serendip.errors import DataError
from serendip.serve.limits import MAX_JSON_DEPTH, MAX_JSON_NODES

_MIN_INT, _MAX_INT = -(2**63), 2**63 - 1
_MAX_DIGITS = 20
_SHOWN = 40
"""Characters of a number or key that a message shows."""


def parse(body: bytes) -> Any:
    """Parse a JSON body.

    Raises:
        DataError: it is not UTF-8 or not JSON, or contains NaN or Infinity, an integer outside 64
            bits, a number too large for a float, a duplicate key, more than 32 levels of nesting,
            or more than 200,000 lists and objects.
    """
    if not body.strip():
        raise DataError("the body is empty.", "Send JSON.")
    if body.count(b"[") + body.count(b"{") > MAX_JSON_NODES:  # which take far longer than bytes
        raise DataError(
            f"the body has more than {MAX_JSON_NODES:,} lists and objects.",
            "Send it in smaller batches.",
        )
    try:
        value = json.loads(
            body.decode("utf-8"),
            parse_constant=_parse_float,
            parse_int=_parse_int,
            parse_float=_parse_float,
            object_pairs_hook=_build_object,
        )
        _check_depth(value)
    except UnicodeDecodeError as error:
        raise DataError(
            f"the body is not UTF-8: byte {error.start} is wrong.",
            "Send JSON as UTF-8, not compressed.",
        ) from None
    except json.JSONDecodeError as error:
        raise DataError(
            f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from None
    except RecursionError:
        raise DataError(
            f"the body is nested deeper than {MAX_JSON_DEPTH} levels.", "Send it flat."
        ) from None
    return value


def _parse_int(digits: str) -> int:
    value = int(digits) if len(digits) <= _MAX_DIGITS else _MAX_INT + 1
    if not _MIN_INT <= value <= _MAX_INT:
        raise DataError(f"{digits[:_SHOWN]} does not fit into 64 bits.", "Send a smaller number.")
    return value


def _parse_float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        message = f"{digits[:_SHOWN]} is not a number of JSON, or too large for one."
        raise DataError(message, "Send null, or leave the field out.")
    return value


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    parsed = dict(pairs)
    if len(parsed) != len(pairs):
        ((key, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise DataError(f"the key {key[:_SHOWN]!r} appears twice in one object.")
    return parsed


def _check_depth(value: Any) -> None:
    """Walk level by level: a recursive walk has no more room than the parser.

    Raises:
        RecursionError: there are too many levels.
    """
    nodes: list[Any] = [[value]]
    for _ in range(MAX_JSON_DEPTH + 1):
        nodes = [
            child
            for node in nodes
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
    if nodes:
        raise RecursionError
