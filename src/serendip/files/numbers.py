"""Numbers that are written for people, such as ``1.234,56 €``, as SQL of a whole cell."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import Literal, TypeAlias

from serendip.files.cells import quote
from serendip.files.names import names

DecimalSign: TypeAlias = Literal[".", ","]

_WIDE = "".join(map(chr, (*range(0xFF01, 0xFF5F), *range(0xFFE0, 0xFFE2), 0xFFE5, 0xFFE6)))
_NARROW = unicodedata.normalize("NFKC", _WIDE)
NARROW = str.maketrans(_WIDE, _NARROW)
"""Full-width digits, signs and currencies -> those that NFKC makes of them."""

_BLANKS = " \u00a0\u202f"
_GAPS = f"{_BLANKS}'’"
_MINUS = r"\-−－–"
_SIGNED = rf"0-9()（）‐‑‒—{_MINUS}"
"""Digits, and the signs that may say that a number is negative, for a class of characters."""
_AROUND = rf"[^{_SIGNED}]{{0,8}}"
"""Currency, per cent or unit beside a number."""
_BEFORE = rf"(?:[^{_SIGNED}]{{0,7}}(?:[^{_SIGNED}.,]|[A-Za-z]\.))?"
"""The same before a number; a decimal sign there would be that of a number without whole digits."""
_NO_FRACTION = "[.,](?:--?|[–—])"
"""Of a whole price, as in ``5,-``."""
_NEGATIVE = rf"[{_MINUS}]|\(\)"
"""Signs around a negative number: one minus, or parentheses."""


def written_number_sql(text: str, sign: DecimalSign) -> str:
    """DOUBLE of a text with one number, without currency, per cent and thousands; else NULL.

    Args:
        text: SQL of the cell.
        sign: before its decimals.
    """
    text = f"translate({text}, {quote(_WIDE)}, {quote(_NARROW)})"
    plain, signed = map(quote, _patterns(sign))
    begin, found, end = (f"regexp_extract({text}, {signed}, {group})" for group in (1, 2, 3))
    is_negative = f"regexp_full_match({begin} || {end}, {quote(_NEGATIVE)})"
    whole = f"regexp_extract({text}, {plain}, 1)"
    return (
        f"CASE WHEN {whole} <> '' THEN {_cast_sql(whole, sign)} "
        f"WHEN {is_negative} THEN -{_cast_sql(found, sign)} END"
    )


def read_number(text: str, sign: DecimalSign) -> float | None:
    """The number that ``written_number_sql`` reads, of one text."""
    text = text.strip().translate(NARROW)
    plain, signed = _patterns(sign)
    if found := re.search(plain, text):
        return _cast(found[1], sign)
    found = re.search(signed, text)
    is_negative = found and re.fullmatch(_NEGATIVE, (found[1] or "") + (found[3] or ""))
    return -_cast(found[2], sign) if found and is_negative else None


def _cast(number: str, sign: DecimalSign) -> float:
    return float(re.sub(_thousands(sign), "", number).replace(",", "."))


def _cast_sql(number: str, sign: DecimalSign) -> str:
    bare = f"regexp_replace({number}, {quote(_thousands(sign))}, '', 'g')"
    return f"TRY_CAST(replace({bare}, ',', '.') AS DOUBLE)"


def _thousands(sign: DecimalSign) -> str:
    """Pattern of what may stand between thousands."""
    return f"[{'.' if sign == ',' else ','}{_GAPS}]"


@cache
def _patterns(sign: DecimalSign) -> tuple[str, str]:
    """Patterns of a whole cell with one number: without a minus, and with one or parentheses.

    The first group of the first is the number; of the second it is the second group, between the
    signs before and behind it.
    """
    currency = (
        rf"[{_BLANKS}]*[A-Za-zÀ-ž円元원]{{0,3}}\.?[{names('currencies')['signs']}]?[{_BLANKS}]*"
    )
    whole = f"(?:[1-9][0-9]{{0,2}}(?:{_thousands(sign)}[0-9]{{3}})+|[0-9]{{1,15}})"
    number = f"({whole}(?:{re.escape(sign)}[0-9]{{1,9}})?)(?:{_NO_FRACTION})?"
    begin = rf"(?:{currency}([{_MINUS}(]))?{currency}"
    end = rf"(?:{currency}%?([{_MINUS})]){currency}|{_AROUND})"
    return f"^{_BEFORE}{number}{_AROUND}$", f"^{begin}{number}{end}$"
