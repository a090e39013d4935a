"""Removal from finished sets, its proof, and what a set can say of a URL."""
