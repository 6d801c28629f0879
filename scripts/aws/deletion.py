"""Take down what deploy made: alarms, autoscaling, endpoint, configurations, models, role and uploaded model files."""

from dataclasses import replace

from botocore.exceptions import NoCredentialsError

from scripts.aws import errors, removal
from scripts.aws.errors import AwsError
from scripts.aws.execution import Access, carry_out, names_for
from scripts.aws.names import MODES


def delete(access: Access, name: str, modes: list[str], bucket: str, everything: bool) -> int:
    """Delete the deployments of a name in some modes; no mode: in all. everything: also what is kept otherwise."""
    if everything and modes:
        raise AwsError("--everything is for all modes: they share the bucket and the images; leave the mode out.")
    session = access.session()
    names = [names_for(session, name, mode) for mode in modes or MODES]
    try:
        account = session.account()
    except NoCredentialsError as error:
        if not access.dry_run:
            raise
        raise AwsError(f"--dry-run shows what there is to delete, which only AWS can tell. {errors.sentence(error)}") from None
    remains = [removal.look(session, replace(each, account=account), bucket) for each in names]
    steps = [step for one in remains for step in removal.plan(one, everything)]
    stays = [line for one in remains for line in removal.kept(one, everything)]
    shared = removal.look_shared(session, remains, bucket)
    stays += removal.kept_shared(shared, everything)
    if everything:
        steps += removal.plan_shared(shared)
    result = {"region": session.region, "account": account, "deleted": removal.deleted(steps), "kept": stays}
    return carry_out(steps, result, (), session, access.dry_run)
