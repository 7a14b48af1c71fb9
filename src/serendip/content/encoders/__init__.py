"""Encoders of text, images and audio.

``base.py`` is their contract, ``weights.py`` checks and converts weights, the others are one
encoder or network each.
"""
