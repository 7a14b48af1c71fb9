"""``serendip bench served``: the quality of the product with its defaults, asked as a user asks."""
