"""The graph language: from a YAML file to a checked graph, in named passes.

An element has one name and, on its way, one word for each stage:

    YamlEntry         its name and settings as written in the file        document.py
    DeclaredElement   variables and bins expanded, its type a mere word   declared.py, made by bins.py
    DraftElement      type and settings looked up, not linked yet         drafts.py
    Node              of a checked graph: pads linked, caps negotiated    pipelines/graph.py
    Element           what runs                                           pipelines/element.py

A link is a chain in the file, a pair of ends, a DraftLink once both pads exist, and a Link with caps in the graph
(links.py, negotiate.py).
"""
