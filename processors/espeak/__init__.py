"""espeak-ng: a small formant voice in many languages, on every machine."""
