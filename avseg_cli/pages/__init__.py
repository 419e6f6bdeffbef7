"""What all pages to look at in a browser share: templates, pictures and plots inside the file."""
