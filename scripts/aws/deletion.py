"""Take down what deploy made: alarms, autoscaling, endpoint, configurations, models, role and uploaded model files."""

from dataclasses import replace

from scripts.aws import removal
from scripts.aws.command import carry_out, names_for, open_session
from scripts.aws.errors import AwsError
from scripts.aws.names import MODES


def delete(options) -> int:
    if options.everything and options.modes:
        raise AwsError("--everything is for all modes: they share the bucket and the images; leave the mode out.")
    session = open_session(options.region, options.profile, options.dry_run)
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
