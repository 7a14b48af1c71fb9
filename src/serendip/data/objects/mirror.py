"""The folder of the segments of the event log; it goes with them."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

Place: TypeAlias = Path
