"""The demo: MovieLens as a user would bring it."""
