"""The report on one run: Markdown, and one HTML page that needs no other file."""
