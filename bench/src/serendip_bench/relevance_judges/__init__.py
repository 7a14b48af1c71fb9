"""``serendip bench judge``: relevance judges, from rules to a cross-encoder, on gold labels."""

from __future__ import annotations
