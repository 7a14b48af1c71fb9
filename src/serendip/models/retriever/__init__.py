"""The unified retriever."""
