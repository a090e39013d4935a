"""Scaling laws of tables and of Measurements."""
