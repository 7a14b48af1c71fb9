"""The ranker.

``config.py`` (settings and training rows), ``model.py`` (served by ONNX), ``train.py`` (torch).
"""
