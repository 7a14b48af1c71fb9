"""SASRec and GRU4Rec.

``model.py`` serves by ONNX; ``network.py``, ``packing.py``, ``cooccurrence.py`` and ``train.py``
fit the settings of ``config.py``.
"""
