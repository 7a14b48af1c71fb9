"""Query rewrites: broader, narrower or substitute queries to offer instead of the one typed."""
