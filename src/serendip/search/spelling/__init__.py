"""Spelling correction: the noisy-channel speller, its typo model and its word statistics."""
