"""What `avseg segment` writes: one file for each format, and what several of them draw with."""
