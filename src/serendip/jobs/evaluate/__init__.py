"""``serendip evaluate``.

``evaluate.py`` compares the engine with its baselines, ``task_transfer.py`` one retriever for all
tasks with several.
"""
