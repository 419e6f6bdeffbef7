"""What no input may do to avseg: hostile files, mutated files and faults, against the real command line."""
