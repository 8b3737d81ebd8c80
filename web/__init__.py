"""Floor 2: the live server and its page. Empty until the live transport lands."""
