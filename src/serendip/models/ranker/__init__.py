"""Unified ranker: probabilities of user actions for candidates of every task."""
