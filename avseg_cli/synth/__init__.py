"""Audio-visual clips composed from free media, with exact masks."""
