"""``serendip bench label-quality``: what search gains by what an LLM of known quality writes."""
