"""One resource on one worker: its history, its edits on their way, who reads it and who is there."""
