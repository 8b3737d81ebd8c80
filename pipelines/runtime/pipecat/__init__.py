"""Bridges to pipecat: its processors as elements of a graph, and a graph as one of its processors.

Which frames become which is ONE table, in docs/PIPECAT.md; it is kept here in ``audio`` and ``answers`` (a processor in
a graph) and in ``processor`` (a graph in a pipeline).
"""
