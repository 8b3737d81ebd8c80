"""``python -m tolmach``: the command line."""

from tolmach.pipelines.cli.main import script

if __name__ == "__main__":
    script()
