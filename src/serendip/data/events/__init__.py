"""Events: what users did, and what follows from it before any model.

``event.py`` has one event and the rules of its action, ``search_log.py`` groups events into
requests and searches, ``rejections.py`` and ``repeats.py`` say what may come again, and when. The
log as Arrow is in ``event_table.py``, as numbers in ``log_columns.py``; ``data/store`` keeps it.
"""
