"""What all stages share: a directory of parts and one manifest, and the one way to make them."""
