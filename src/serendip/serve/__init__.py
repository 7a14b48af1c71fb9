"""The outside: HTTP API, hot swap, limits, metrics and the page. Knows nothing of training.

``server.py`` starts a service, ``app.py`` is its application, ``engine_holder.py`` has the current
engine. ``api`` and ``page`` have the routes, ``workers`` the processes of a service, ``telemetry``
its messages and metrics.
"""
