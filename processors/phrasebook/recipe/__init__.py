"""Recipe of the phrasebook model: sentences, voices, corpus, training, export and evaluation.

Run it as ``python -m tolmach.processors.phrasebook.recipe``. Importing the package loads neither torch nor NeMo.
"""
