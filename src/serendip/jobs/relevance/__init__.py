"""The relevance model of a workspace.

``distil.py`` trains it on labels, ``versions.py`` stores its versions, ``report.py`` measures its
filter.
"""

from __future__ import annotations
