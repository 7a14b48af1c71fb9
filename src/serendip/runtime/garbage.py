"""How often Python looks for garbage in cycles."""

from __future__ import annotations

import gc


def collect_seldom() -> None:
    """Look for cycles after 50,000 new objects, not after 700, as a process of Serendip begins.

    Imports, events and items are millions of objects and hardly a cycle: looking for them took a
    twelfth of a short command.
    """
    gc.set_threshold(50_000, 20, 20)
