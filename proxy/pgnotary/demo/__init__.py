"""What newcomers and tests need around the proxy: a PostgreSQL of their own, and a story to play in it."""
