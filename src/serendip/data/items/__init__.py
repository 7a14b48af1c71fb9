"""Items: the catalogue, attributes, features, semantic IDs, and which of them may be shown.

``catalogue.py`` has all items, ``table.py`` those of an import as columns, ``attributes.py`` the
values of one attribute, ``features.py`` what models read of content.
"""
