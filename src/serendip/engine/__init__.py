"""The engine: answers requests from a published generation and the live store.

``engine.py`` leads from a ``Request`` to an ``Answer``: ``query_builder.py`` builds the query,
``stages`` retrieve, score and select from the ``state.py``, ``presenter.py`` builds the answer and
``explanations`` its reasons. ``live`` keeps the state up with the store; a ``Workspace`` is its
settings (``config``), its data and its ``artefacts``.
"""
