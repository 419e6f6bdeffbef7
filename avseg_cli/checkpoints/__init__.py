"""Weights as files: our checkpoints, the public weights they stand on, import from other code, download."""
