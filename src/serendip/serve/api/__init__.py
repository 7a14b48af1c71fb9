"""The JSON API.

``routes``: the endpoints. ``requests`` and ``types``: parameters and bodies, with their limits.
``responses``: answers. ``strict_route``: how bodies are parsed.
"""
