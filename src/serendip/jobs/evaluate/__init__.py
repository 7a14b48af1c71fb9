"""``serendip evaluate``.

``evaluate.py`` compares the engine with its baselines, ``split.py`` does so for one split;
``task_transfer.py`` compares one retriever for all tasks with several.
"""
