"""Evaluation reports: the JSON document, its verdict, the HTML pages and their plots."""
