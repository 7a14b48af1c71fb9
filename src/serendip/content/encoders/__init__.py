"""Encoders of text, images and audio: inputs to unit vectors.

``base.py`` is their contract, ``weights.py`` verifies and converts weights, ``media_files.py``
finds the files of items; the others have the encoders and networks of one modality each.
"""
