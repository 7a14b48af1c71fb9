"""Where it runs: thread limits, progress, and the executor protocol with its local form."""

from __future__ import annotations
