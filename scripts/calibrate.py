"""Compute an artifact's derived files from sentences with their parses: int8 ranges, draft table, suffix list, tag counts.

    python -m scripts.calibrate model_store/mine --data train.tsv.gz                       sentence<TAB>parse, some thousands
    python -m scripts.calibrate model_store/mine --data train.tsv.gz --held-out dev.tsv.gz   and print what int8 costs

`ranges.json`: the least and greatest input of every linear layer, teacher-forced in fp32 on a few hundred sentences.
`drafts.safetensors`: which token follows the last few tokens in the parses. It makes parses faster and changes no answer.
`endings.json`: pieces that occur at the end of words and never as a word. The model does not write them alone.
`lexicon.safetensors`: how often each word had which tag. Texts follow their parses by it if `config.json` has a `tag_weight`.

No weight is changed. Derived files that the artifact had are replaced. `scripts.train --export` computes them by itself.
"""

import argparse
import sys
from pathlib import Path

from scripts.training.calibration import agreement, calibrate, read
from scripts.training.command import run


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.calibrate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="sentence<TAB>parse, .tsv or .tsv.gz")
    parser.add_argument("--held-out", type=Path, help="the same; print how often int8 and fp32 choose the same token")
    options = parser.parse_args(argv)
    return run(lambda: compute(options.artifact, options.data, options.held_out))


def compute(artifact: Path, data: Path, held_out: Path | None) -> int:
    """Write the derived files and print what they were computed from."""
    done = calibrate(artifact, read(artifact, data))
    print(
        f"ranges from {done['sentences']} sentences, {done['contexts']} contexts of drafts from {done['parses']} parses, "
        f"tags of {done['words']} words"
    )
    if held_out:
        for name, shares in agreement(artifact, read(artifact, held_out)).items():
            print(
                f"{name}: int8 chooses as fp32 in {100 * shares['alike']:.2f} % of {shares['tokens']} tokens; "
                f"right {100 * shares['fp32_right']:.2f} % and {100 * shares['int8_right']:.2f} %"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
