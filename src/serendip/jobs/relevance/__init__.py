"""The relevance model of a workspace.

``distil.py`` trains it on labels, ``versions.py`` stores its versions,
``decisions.py`` says which surfaces are filtered.
"""

from __future__ import annotations
