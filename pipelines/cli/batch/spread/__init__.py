"""Recordings spread over the workers of a Ray cluster, one at a time on each (docs/adr/0050).

What decides and remembers stays in the process that was called: what is finished, who owns a folder, ``run.json``,
copies with sound and subtitles in them. A worker plays checked graphs and writes what their sinks write.
"""
