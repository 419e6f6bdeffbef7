"""Pages to look at in a browser: reports of what was segmented, evaluated and trained."""
