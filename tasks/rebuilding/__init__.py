"""What a lost database gets back from the archive: its catalogue, and the months that another database sent back."""
