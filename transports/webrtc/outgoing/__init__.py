"""From audio to RTP packets: what is sent next, and when."""
