"""Work on breaks: lists, decisions, suggested matches, and manual settlement."""
