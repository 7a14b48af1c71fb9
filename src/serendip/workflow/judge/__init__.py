"""Good and bad matches: what people say, what models say, and how far these agree."""
