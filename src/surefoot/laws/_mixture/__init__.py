"""Mixtures of sources: the Gaussian model, and what a mixture will score."""
