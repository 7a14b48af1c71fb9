"""LLM jobs: questions, asked once each, within a budget."""
