"""Live audio over WebRTC: an adaptive receiver, a paced sender, one peer connection a session."""
