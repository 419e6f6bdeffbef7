"""What every room stands on: errors, whole files, threads, JSON, progress."""
