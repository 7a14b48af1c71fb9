"""What an LLM adds, offline: questions with schemas, every call in a ledger, spend under a budget.

Nothing here runs inside a request. What an LLM says is data with a source, and nothing of it is
trusted before it is measured against what people say.
"""
