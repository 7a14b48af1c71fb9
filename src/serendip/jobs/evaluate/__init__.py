"""Reports of quality.

``evaluate.py`` compares the engine with its baselines, ``task_transfer.py`` one model for all
tasks with several.
"""
