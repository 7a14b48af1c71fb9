"""Unified ranker: probabilities of user actions for candidates of every task.

``config.py`` (settings and training rows), ``model.py`` (served by ONNX), ``train.py`` (torch).
"""
