"""Delete what deploy made: alarms, autoscaling, endpoint, configurations, models, role and uploaded model files.

    python -m scripts.delete                    every deployment of this name
    python -m scripts.delete serverless         one
    python -m scripts.delete --everything       also results, logs, the bucket if it was made here, images and their repository
    python -m scripts.delete --dry-run          the calls, as JSON; needs credentials too, to look up what there is

Things are found by name and tag, so the command can be repeated, also after a deployment that failed halfway. Standard output is one JSON
object: what was deleted, what was kept, and why.
"""

import sys

from scripts.aws.command import access, name_option, parser, run
from scripts.aws.deletion import delete
from scripts.aws.names import MODES


def main(argv: list[str] | None = None) -> int:
    made = parser("delete", __doc__)
    made.add_argument("modes", nargs="*", metavar="mode", help=f"{', '.join(MODES)}; default: all")
    name_option(made)
    made.add_argument("--bucket", default="", help="the bucket that deploy was given, if the models are already gone")
    made.add_argument("--everything", action="store_true", help="also delete what is otherwise kept, and what deployments share")
    options = made.parse_args(argv)
    if wrong := set(options.modes) - set(MODES):
        made.error(f"there is no mode {sorted(wrong)[0]}; there are {', '.join(MODES)}")
    return run(lambda: delete(access(options), options.name, options.modes, options.bucket, options.everything))


if __name__ == "__main__":
    sys.exit(main())
