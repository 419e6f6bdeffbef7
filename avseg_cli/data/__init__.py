"""AVSBench, and data laid out like it: what is on disk, as clips, tensors and caches."""
