"""One request: sources, filters, the ranker, reasons; and the generation it answers from."""
