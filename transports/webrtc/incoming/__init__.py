"""From RTP packets to audio: jitter buffer and concealment."""
