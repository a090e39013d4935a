"""Embeddings of pairs, thresholds after the fact, and search in them."""
