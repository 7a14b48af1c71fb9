"""Users' files: tables that DuckDB reads, the names of their columns, and what their cells say."""
