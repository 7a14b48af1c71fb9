"""The relevance model.

``distil.py`` trains it from labels, ``versions.py`` keeps its versions, ``report.py`` measures its
filter.
"""

from __future__ import annotations
