"""Downloading pictures: politely, from public addresses alone, decoded apart, a state for every URL."""
