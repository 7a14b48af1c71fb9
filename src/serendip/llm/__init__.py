"""Offline LLM jobs: prompts with answer schemas, a ledger of every call, and a spending budget.

Nothing here runs inside a request. The output of an LLM is data with a source, and it is not
trusted before it has been measured against people's labels.
"""
