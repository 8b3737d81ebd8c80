"""Speech translation into English with Whisper (faster-whisper on CTranslate2)."""
