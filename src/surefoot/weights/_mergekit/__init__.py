"""Merge configurations in the format of mergekit."""
