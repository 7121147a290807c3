"""State of cards and terminals: rows in memory, and the store that they are flushed to."""
