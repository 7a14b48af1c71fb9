"""The page for people.

``routes.py`` and ``params.py`` read requests, ``views.py`` and ``cards.py`` fill the templates.
"""
