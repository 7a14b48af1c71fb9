"""Text search: query understanding, the lexical index, rank fusion, spelling, suggestions."""
