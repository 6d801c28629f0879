"""Give an artifact what is learned by looking on: ranges for int8, drafts for the parse generator, which pieces are no words,
and which tags words have.

    python -m scripts.calibrate model_store/mine --data train.tsv.gz                       sentence<TAB>parse, some thousands
    python -m scripts.calibrate model_store/mine --data train.tsv.gz --held-out dev.tsv.gz   and say what int8 costs

`ranges.json`: the least and greatest input of every linear layer on a few hundred sentences, teacher-forced, in fp32.
`drafts.safetensors`: which token follows the last few in the parses of the data; it changes no answer. `endings.json`: pieces
that the sentences have at the end of words and nowhere as a word, which are not to be written alone. `lexicon.safetensors`: how
often each word had which tag, from all sentences; texts follow their parses by it where `config.json` has a `tag_weight`. No
weight is changed, and what the artifact had of these files is replaced. `scripts.train --export` does this by itself.
"""

import argparse
import sys
from pathlib import Path

from handler.errors import ArtifactError
from scripts.training.calibration import agreement, calibrate, read


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.calibrate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="sentence<TAB>parse, .tsv or .tsv.gz")
    parser.add_argument("--held-out", type=Path, help="the same; say how often int8 and fp32 choose the same token")
    options = parser.parse_args(argv)
    try:
        done = calibrate(options.artifact, read(options.artifact, options.data))
        print(
            f"ranges from {done['sentences']} sentences, {done['contexts']} contexts of drafts from {done['parses']} parses, "
            f"tags of {done['words']} words"
        )
        if options.held_out:
            for name, shares in agreement(options.artifact, read(options.artifact, options.held_out)).items():
                print(
                    f"{name}: int8 chooses as fp32 in {100 * shares['alike']:.2f} % of {shares['tokens']} tokens; "
                    f"right {100 * shares['fp32_right']:.2f} % and {100 * shares['int8_right']:.2f} %"
                )
    except ArtifactError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
