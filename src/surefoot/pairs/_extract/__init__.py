"""Stage 1: web archives to candidates."""
