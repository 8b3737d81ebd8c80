"""Recordings in, files out: file_src, file_sink, subtitle_sink, jsonl_sink."""
