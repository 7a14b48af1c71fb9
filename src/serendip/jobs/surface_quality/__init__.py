"""Requests of every surface from held-out events, and their answers, for reports and gates."""
