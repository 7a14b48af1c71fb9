"""Explanations of answers: why an item is shown, and why another one is not.

``explain.py`` has the evidence of shown items, ``influence.py`` what past items do for it,
``absence.py`` the stage that left an item out. ``translation.py`` writes their sentences in the
language of the request.
"""
