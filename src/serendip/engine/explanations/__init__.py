"""Explanations of answers: why an item is shown, and why another one is not."""
