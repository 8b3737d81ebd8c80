"""Silero text to speech."""
