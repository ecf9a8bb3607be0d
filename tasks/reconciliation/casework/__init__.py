"""What people do about breaks: lists, decisions, suggested matches, and manual settlement."""
