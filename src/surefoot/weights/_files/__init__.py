"""Checkpoints on disk and in memory: safetensors, pickles of plain tensors, adapters."""
