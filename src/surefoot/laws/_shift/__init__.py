"""Robustness under shift."""
