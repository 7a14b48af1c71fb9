"""The JSON API.

``routes.py``, the models of ``requests.py`` and ``types.py``, answers by ``responses.py``, parsing
by ``strict_json.py``.
"""
