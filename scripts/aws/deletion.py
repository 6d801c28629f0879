"""Take down what deploy made: alarms, autoscaling, endpoint, configurations, models, role and uploaded model files.

    python -m scripts.delete                    every deployment of this name
    python -m scripts.delete serverless         one
    python -m scripts.delete --everything       also results, logs, the bucket if it was made here, images and their repository
    python -m scripts.delete --dry-run          the calls, as JSON

Things are found by name and tag, so it can be run again, and after a deployment that broke off. Standard output is one JSON
object: what was deleted, what was kept, and why.
"""

import sys
from dataclasses import replace

from scripts.aws import removal
from scripts.aws.command import carry_out, guarded, name_option, names_for, open_session, parser
from scripts.aws.errors import AwsError
from scripts.aws.names import MODES


def main(argv: list[str] | None = None) -> int:
    made = parser("delete", __doc__)
    made.add_argument("modes", nargs="*", metavar="mode", help=f"{', '.join(MODES)}; default: all")
    name_option(made)
    made.add_argument("--bucket", default="", help="where deploy was told to put the model, if the models are gone already")
    made.add_argument("--everything", action="store_true", help="also what is kept otherwise, and what deployments share")
    options = made.parse_args(argv)
    if wrong := set(options.modes) - set(MODES):
        made.error(f"there is no mode {sorted(wrong)[0]}; there are {', '.join(MODES)}")
    return guarded(lambda: delete(options))


def delete(options) -> int:
    if options.everything and options.modes:
        raise AwsError("--everything is for all modes: they share the bucket and the images; leave the mode out.")
    session = open_session(options)
    names = [names_for(session, options.name, mode) for mode in options.modes or MODES]
    account = session.account()
    remains = [removal.look(session, replace(each, account=account), options.bucket) for each in names]
    steps = [step for one in remains for step in removal.plan(one, options.everything)]
    stays = [line for one in remains for line in removal.kept(one, options.everything)]
    shared = removal.look_shared(session, remains, options.bucket)
    stays += removal.kept_shared(shared, options.everything)
    if options.everything:
        steps += removal.plan_shared(shared)
    result = {"region": session.region, "account": account, "deleted": removal.deleted(steps), "kept": stays}
    return carry_out(steps, result, (), session, options.dry_run)


if __name__ == "__main__":
    sys.exit(main())
