"""What every voice has in common."""
