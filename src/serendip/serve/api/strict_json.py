"""JSON as the standard has it, and no more.

Python's parser accepts NaN, Infinity, numbers that overflow, duplicate keys and lone surrogates.
Each of these would be stored and would then break an answer, a database or a client, so each is
refused here, at the door, with a message that says what was found.
"""

from __future__ import annotations

import json
import math
from typing import Any

from serendip.errors import DataError
from serendip.serve.limits import MAX_JSON_DEPTH

_MIN_INT, _MAX_INT = -(2**63), 2**63 - 1
_MAX_DIGITS = 20


def parse(body: bytes) -> Any:
    """The value of a JSON body.

    Raises:
        DataError: it is not UTF-8 or not JSON, or holds a value that JSON does not have
            (NaN, Infinity), an integer outside of 64 bits, a number too large for a float, a key
            twice, a lone surrogate, a NUL character, or more than 32 levels.
    """
    if not body.strip():
        raise DataError("the body is empty.", "Send JSON.")
    try:
        value = json.loads(
            body.decode("utf-8"),
            parse_constant=_refuse_constant,
            parse_int=_integer,
            parse_float=_float,
            object_pairs_hook=_unique_keys,
        )
    except UnicodeDecodeError as error:
        raise DataError(f"the body is not UTF-8: byte {error.start} is wrong.") from None
    except json.JSONDecodeError as error:
        raise DataError(
            f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from None
    except RecursionError:
        raise _too_deep() from None
    _check_depth(value)
    if b"\\u" in body:  # a NUL or a lone surrogate can only be written as an escape
        _check_strings(value)
    return value


def check_text(text: str, name: str) -> str:
    """The text itself, where it can be stored everywhere.

    Raises:
        DataError: it holds a NUL character or a lone surrogate.
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


def _integer(digits: str) -> int:
    value = int(digits) if len(digits) <= _MAX_DIGITS else _MAX_INT + 1
    if not _MIN_INT <= value <= _MAX_INT:
        raise DataError(f"{_short(digits)} does not fit into 64 bits.", "Send a smaller number.")
    return value


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise DataError(f"{_short(digits)} is too large for a number.", "Send a smaller number.")
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise DataError(f"the key {_short(key)!r} appears twice in one object.")
            seen.add(key)
    return found


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_JSON_DEPTH):
        level = [child for node in level for child in _children(node) if child.__class__ in _NODES]
        if not level:
            return
    raise _too_deep()


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


def _too_deep() -> DataError:
    return DataError(f"the body is nested deeper than {MAX_JSON_DEPTH} levels.", "Send it flat.")


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."
