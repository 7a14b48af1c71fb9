"""Arrays with one row per item: memory-mapped, growing, packed or aligned; strings in columns.

``row_array.py`` has what they have in common.
"""
