"""Finding by words: analysis, the lexical index, fusion, spelling, suggestions."""
