"""``tolmach bench endpoints``: how well the ends of sentences are found, on recordings of one's own."""
