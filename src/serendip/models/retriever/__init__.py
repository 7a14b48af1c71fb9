"""The unified retriever.

``model.py`` serves from ``artefact.py``; ``network.py``, ``loss.py``, ``batches.py`` and
``train.py`` fit it; the others are parts of both.
"""
