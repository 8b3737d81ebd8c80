"""Command line: ``python -m tolmach.processors.phrasebook.recipe corpus|train|export|evaluate|demo``."""

import argparse
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from .config import Recipe

_HOME = Path(__file__).resolve().parent.parent
_TRAINED_ON = (
    "synthetic speech of espeak-ng, flite, festival and piper reading the phrasebook; nothing to say to other "
    "sentences of the same voices, free human recordings, music and noise"
)


def parser() -> argparse.ArgumentParser:
    """Builds the argument parser."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--work", type=Path, default=Path("build/phrasebook"), help="working folder (%(default)s)")
    common.add_argument("--recipe", type=Path, help="YAML settings (default: recipe.yaml beside this package)")
    top = argparse.ArgumentParser(prog="python -m tolmach.processors.phrasebook.recipe", description=__doc__)
    verbs = top.add_subparsers(dest="verb", required=True)

    corpus = verbs.add_parser(
        "corpus", parents=[common], help="render the training and test audio, as far as it is missing"
    )
    corpus.add_argument("--only", default="", help="prefix of the parts to render, such as phrase or unknown-espeak")

    train = verbs.add_parser("train", parents=[common], help="train, on a GPU if there is one")
    train.add_argument("--init", type=Path, help="checkpoint to start from")
    train.add_argument("--tokenizer", type=Path, help="tokenizer folder or .nemo file (default: train one)")
    train.add_argument("--resume", action="store_true", help="go on from the last checkpoint of the working folder")
    train.add_argument("--max-steps", type=int, help="stop early")

    export = verbs.add_parser("export", parents=[common], help="write the .nemo file and its sidecar")
    export.add_argument("--checkpoint", type=Path, nargs="*", help="one or more, averaged (default: the last one)")
    export.add_argument("--shares", type=float, nargs="*", help="weight of each checkpoint (default: all the same)")
    export.add_argument("--tokenizer", type=Path, help="tokenizer folder or .nemo file (default: the working folder's)")
    export.add_argument("--out", type=Path, default=_HOME / "phrasebook.nemo", help="%(default)s")

    evaluate = verbs.add_parser("evaluate", parents=[common], help="measure a .nemo file on the test sets")
    evaluate.add_argument("--model", type=Path, default=_HOME / "phrasebook.nemo", help="%(default)s")
    for verb in (export, evaluate):
        verb.add_argument("--clips", type=Path, nargs="*", default=[], help="manifest.jsonl files of further clips")

    demo = verbs.add_parser("demo", parents=[common], help="render the demonstration recordings")
    demo.add_argument("--out", type=Path, default=Path("config/demo"), help="%(default)s")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb.

    Args:
        arguments: Command line, ``sys.argv`` if None.

    Returns:
        Exit status.
    """
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    # Threads of OpenMP that spin while they wait take the cores the data loader needs.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    recipe = Recipe.load(options.recipe or Path(__file__).with_name("recipe.yaml"))
    if options.verb == "corpus":
        from .corpus import render_corpus

        render_corpus(options.work, recipe.corpus, options.only)
    elif options.verb == "train":
        from .train import run

        # A batch system's SIGTERM ends the run like Ctrl-C does: with a checkpoint.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        run(
            options.work,
            recipe,
            init=options.init,
            tokenizer=options.tokenizer,
            resume=options.resume,
            max_steps=options.max_steps,
        )
    elif options.verb == "export":
        from .export import export, write_sidecar
        from .model import tokenizer_folder

        tokenizer = tokenizer_folder(options.tokenizer or options.work / "tokenizer", options.work)
        checkpoints = options.checkpoint or [options.work / "train" / "last.ckpt"]
        shares = options.shares or [1.0] * len(checkpoints)
        export(dict(zip(checkpoints, shares, strict=True)), tokenizer, options.out, recipe)
        write_sidecar(options.out, _measure(options.out, options), _TRAINED_ON)
    elif options.verb == "evaluate":
        print(json.dumps(_measure(options.model, options), ensure_ascii=False, indent=2))
    else:
        from .demo import write_demo

        write_demo(options.out)
    return 0


def _measure(model: Path, options: argparse.Namespace) -> dict[str, object]:
    from .evaluate import evaluate
    from .model import restore

    return evaluate(restore(model), options.work, options.clips)


if __name__ == "__main__":
    sys.exit(main())
