"""PostgreSQL: the pool, the tables, the named statements and the migrations."""
