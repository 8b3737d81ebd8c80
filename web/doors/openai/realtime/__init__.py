"""OpenAI's realtime translations, spoken by this server: ``/v1/realtime/translations`` over WebSocket and WebRTC.

Names and shapes of events are those of the ``openai`` package (types/realtime/realtime_translation_*). What is said
more than that stands in fields of its own, which its SDKs pass on; docs/OPENAI.md lists them.
"""
