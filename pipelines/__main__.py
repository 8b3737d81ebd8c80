"""``python -m pipelines`` is ``tolmach``."""

from pipelines.cli.main import script

if __name__ == "__main__":
    script()
