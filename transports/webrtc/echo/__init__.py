"""Our own voice in the microphone: found, measured, kept from being translated again."""
