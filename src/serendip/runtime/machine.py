"""Tells machines apart, for files that only processes of one machine may write."""

from __future__ import annotations

import platform
import uuid
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def identify_machine() -> str:
    """The same text in all processes of this machine, those of its containers included.

    Linux has an id of each start of its kernel, with which processes also share memory; elsewhere
    it is the name and the hardware address.
    """
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return f"{platform.node()} {uuid.getnode():x}"
