"""Shows a report: live in the terminal, as a summary there, as one self-contained HTML page."""
