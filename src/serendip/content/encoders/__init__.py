"""Encoders of text, images and audio: inputs to unit vectors."""
