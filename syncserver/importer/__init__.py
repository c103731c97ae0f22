"""Records from files: a mapping, a table, and what cannot be taken with line and reason."""
