"""``python -m pipelines`` is ``tolmach``."""

from pipelines.cli import script

if __name__ == "__main__":
    script()
