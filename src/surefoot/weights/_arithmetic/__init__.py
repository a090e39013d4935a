"""Edits and merge methods, tensor by tensor and chunk by chunk."""
