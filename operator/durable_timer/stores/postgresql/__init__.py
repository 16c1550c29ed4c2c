"""The PostgreSQL store (15 and later)."""
