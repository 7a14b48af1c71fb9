"""Strict JSON parser.

Python's parser accepts NaN, Infinity, numbers that overflow, duplicate keys and lone surrogates.
Once stored, each of them could break an answer, a database or a client, so all are refused here
with a message that names the problem.
"""

from __future__ import annotations

import json
import math
from typing import Any

from serendip.errors import DataError
from serendip.serve.limits import MAX_JSON_DEPTH, MAX_JSON_NODES

_MIN_INT, _MAX_INT = -(2**63), 2**63 - 1
_MAX_DIGITS = 20


def parse(body: bytes) -> Any:
    """Parse a JSON body.

    Raises:
        DataError: it is not UTF-8 or not JSON, or contains NaN or Infinity, an integer outside 64
            bits, a number too large for a float, a duplicate key, a lone surrogate, a NUL
            character, more than 32 levels of nesting, or more than 200,000 lists and objects.
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
            parse_constant=_refuse_constant,
            parse_int=_parse_int,
            parse_float=_parse_float,
            object_pairs_hook=_build_object,
        )
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
        raise _too_deep_error() from None
    _check_depth(value)
    if b"\\u" in body:  # a NUL or a lone surrogate can only be written as an escape
        _check_strings(value)
    return value


def check_text(text: str, name: str) -> str:
    """Return the text if it can be stored anywhere.

    Raises:
        DataError: it contains a NUL character or a lone surrogate.
    """
    if "\x00" in text:
        raise DataError(f"{name} holds a NUL character.", "Take it out.")
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise DataError(f"{name} holds half of a surrogate pair.", "Send UTF-8.") from None
    return text


def _refuse_constant(name: str) -> Any:
    raise DataError(f"{name} is not a JSON number.", "Send null or leave the field out.")


def _parse_int(digits: str) -> int:
    value = int(digits) if len(digits) <= _MAX_DIGITS else _MAX_INT + 1
    if not _MIN_INT <= value <= _MAX_INT:
        raise DataError(f"{_shorten(digits)} does not fit into 64 bits.", "Send a smaller number.")
    return value


def _parse_float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise DataError(f"{_shorten(digits)} is too large for a number.", "Send a smaller number.")
    return value


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    parsed = dict(pairs)
    if len(parsed) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise DataError(f"the key {_shorten(key)!r} appears twice in one object.")
            seen.add(key)
    return parsed


def _check_depth(value: Any) -> None:
    nodes = [value]
    for _ in range(MAX_JSON_DEPTH):
        nodes = [child for node in nodes for child in _children(node) if child.__class__ in _NODES]
        if not nodes:
            return
    raise _too_deep_error()


def _check_strings(value: Any) -> None:
    waiting = [value]
    while waiting:
        node = waiting.pop()
        if isinstance(node, str):
            check_text(node, "a text")
        elif isinstance(node, dict):
            waiting.extend(node)
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


_NODES = (list, dict)


def _children(node: Any) -> Any:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()


def _too_deep_error() -> DataError:
    return DataError(f"the body is nested deeper than {MAX_JSON_DEPTH} levels.", "Send it flat.")


def _shorten(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."
