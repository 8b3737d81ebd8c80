"""What peers agree on: SDP, ICE, messages of the data channel."""
