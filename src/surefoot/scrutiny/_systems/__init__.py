"""Systems under test: what they are, and how they are asked so that nothing of them gets out."""
