"""A light judge of matches: taught from labels, kept in versions, told of in a report."""

from __future__ import annotations
