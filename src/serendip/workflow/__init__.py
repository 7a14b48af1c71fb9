"""The offline half: from the store to a report and a published generation."""
