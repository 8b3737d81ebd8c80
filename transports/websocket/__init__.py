"""PCM over a WebSocket: a peer on a session's line for clients that have no WebRTC."""
