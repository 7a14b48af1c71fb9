"""Texts that machines write about items: written, gated, used at the next training, taken back."""

from __future__ import annotations
