"""Tables of results, and their traps."""
