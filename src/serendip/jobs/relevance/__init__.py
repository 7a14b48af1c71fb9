"""The relevance model of a workspace."""

from __future__ import annotations
