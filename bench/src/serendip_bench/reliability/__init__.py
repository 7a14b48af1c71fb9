"""Proofs of what is promised about durability, availability and input, one harness per file.

Every harness also runs on variants that are broken on purpose, its negative controls: one that it
does not catch shows that the harness proves nothing.
"""
