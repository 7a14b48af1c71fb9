"""Requests of every surface from held-out events, and their answers: what a report and a gate read.

``request_builder.py`` makes the requests of a surface and says what is relevant to them,
``sample.py`` chooses some of them, ``answers.py`` answers them by the engine and by its baselines,
and measures the answers.
"""
