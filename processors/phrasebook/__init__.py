"""The embedded phrasebook: a 4.5 million parameter model of Canary's architecture, and the recipe that trains it."""
