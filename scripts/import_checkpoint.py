"""Turn a checkpoint of the published code (uclanlp/synpg: plain, Large or fine-tuned) into an artifact.

    python -m scripts.import_checkpoint --synpg pretrained_synpg.pt --parse-generator pretrained_parse_generator.pt \\
        --dictionary dictionary.pkl --bpe-codes bpe.codes --bpe-vocab vocab.txt model_store/published
    python -m scripts.build_archive --artifact model_store/published

    … --faithful OUT       answers as the published code does: raw text, nothing constrained
    … --dtype fp16 OUT     half the size

Sizes are read from the tensors; the number of heads is not in them, published checkpoints have six. Of the files nothing
is run: the dictionary's unpickler knows four harmless names, tensors are read with `weights_only`. OUT appears only when
the artifact is complete and a server would load it. The tagger of the model that ships comes along, so that requests need
no parse.
"""

import argparse
import sys
from dataclasses import fields
from pathlib import Path

from safetensors import SafetensorError

from handler.errors import ArtifactError
from handler.planning import TOKENIZATIONS
from scripts.common.command import Sentences, run
from scripts.training import published
from scripts.training.published import DTYPES, ImportOptions, convert


def at_least(least: int):
    def integer(text: str) -> int:
        if int(text) < least:
            raise ValueError
        return int(text)

    return integer


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.import_checkpoint", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to be made")
    for name, text in (
        ("--synpg", "checkpoint of the paraphraser, .pt"),
        ("--parse-generator", "the other checkpoint, .pt"),
        ("--dictionary", "dictionary.pkl"),
        ("--bpe-codes", "bpe.codes"),
        ("--bpe-vocab", "vocab.txt"),
    ):
        parser.add_argument(name, type=Path, required=True, metavar="FILE", help=text)
    parser.add_argument("--bpe-threshold", type=at_least(0), default=50, help="pieces counted less often are split further (%(default)s)")
    parser.add_argument("--heads", type=at_least(1), default=6, help="attention heads of both networks (%(default)s)")
    for name, default, text in (
        ("sent", 40, "word pieces"),
        ("tmpl", 100, "brackets and labels of a template"),
        ("synt", 160, "brackets and labels of a parse"),
    ):
        parser.add_argument(
            f"--max-{name}-len", type=at_least(1), default=default, help=f"{text} it was trained with at most (%(default)s)"
        )
    parser.add_argument(
        "--tokenization",
        choices=TOKENIZATIONS,
        help="ptb: tokenise and lower-case requests (default); raw: read them as they are, as the published code does",
    )
    parser.add_argument(
        "--constrained", action=argparse.BooleanOptionalAction, help="parses are trees with the asked top, texts are words (default)"
    )
    parser.add_argument("--faithful", action="store_true", help="--tokenization raw --no-constrained")
    tagger = parser.add_mutually_exclusive_group()
    tagger.add_argument(
        "--tagger",
        type=Path,
        metavar="FILE",
        default=published.TAGGER if published.TAGGER.is_file() else None,
        help="part-of-speech tagger for requests without a parse (that of the model that ships)",
    )
    tagger.add_argument("--no-tagger", dest="tagger", action="store_const", const=None, help="requests need a parse")
    parser.add_argument("--dtype", choices=DTYPES, default="fp32", help="type the weights are stored in (%(default)s)")
    options = parser.parse_args(argv)
    if options.tokenization is None:
        options.tokenization = "raw" if options.faithful else "ptb"
    if options.constrained is None:
        options.constrained = not options.faithful
    wanted = ImportOptions(**{field.name: getattr(options, field.name) for field in fields(ImportOptions)})
    return run(lambda: convert_and_tell(wanted), sentences_for(wanted.out))


def convert_and_tell(options: ImportOptions) -> int:
    made = convert(options)
    print(f"Wrote {options.out}: {made}. To serve it: python -m scripts.build_archive --artifact {options.out}")
    return 0


def sentences_for(out: Path) -> Sentences:
    """How errors of other packages are told while `out` is made."""
    return {
        ArtifactError: lambda error: f"A server would refuse this: {error}.",
        SafetensorError: lambda error: f"{out} could not be written: {error}.",  # its way to say that the disk is full
    }


if __name__ == "__main__":
    sys.exit(main())
