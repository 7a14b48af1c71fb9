"""Good and bad matches: what people say, what models say, and how far these agree."""

from __future__ import annotations
