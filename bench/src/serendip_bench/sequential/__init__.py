"""``serendip bench sequential`` and ``cold``: next-item models, with and without cold items."""
