"""Files that are written whole or not at all, and that say how they were made."""
