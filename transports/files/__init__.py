"""Recordings in, files out: ``file_src``, ``file_sink``, ``subtitle_sink`` and ``jsonl_sink``."""
