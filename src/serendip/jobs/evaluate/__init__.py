"""``serendip evaluate``.

``evaluate.py`` writes the report, ``split.py`` fits and measures the engine and its baselines;
``task_transfer.py`` compares one retriever for all tasks with several.
"""
