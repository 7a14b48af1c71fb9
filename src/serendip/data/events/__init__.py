"""Events: what users did, and what follows from it before any model."""
