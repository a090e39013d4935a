"""Surefoot: a laboratory for models that must keep their footing when the data shifts."""

__version__ = "0.1.0"
