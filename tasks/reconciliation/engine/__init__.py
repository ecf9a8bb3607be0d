"""The matching engine: statement lines against internal rows, in sets, in DuckDB. No I/O."""
