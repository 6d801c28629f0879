"""From a plan to its result: whose account and region it is for, and whether its calls are made or shown."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass

from scripts.aws import plan
from scripts.aws.errors import AwsError
from scripts.aws.names import Names
from scripts.aws.session import Progress, Session

SHOWN_REGION = "us-east-1"  # of a dry run where no region is set


@dataclass(frozen=True)
class Access:
    """Where a command works, as whom, and whether it only shows its calls."""

    region: str | None = None  # None: as AWS is configured
    profile: str | None = None  # the same
    dry_run: bool = False

    def session(self) -> Session:
        """A session in this region. A dry run does without one that is set. Raises AwsError."""
        session = Session(self.region, self.profile)
        if not session.region and self.dry_run:
            print(f"No region is set; this is what would be done in {SHOWN_REGION}.", file=sys.stderr)
            session = Session(SHOWN_REGION, self.profile)
        if not session.region:
            raise AwsError("No AWS region is set; give --region, for example us-east-1, or set AWS_REGION.")
        return session

    def account(self, session: Session) -> str:
        """The account; in a dry run without credentials, what stands for it."""
        return session.account_if_any() if self.dry_run else session.account()


def names_for(session: Session, name: str, mode: str) -> Names:
    """Names, checked before the account is asked for."""
    return Names(name, mode, session.region, partition=session.partition())


def carry_out(
    steps: list, result: dict, missing: tuple, session: Session, dry_run: bool, then: Callable[[dict], dict] = lambda answers: {}
) -> int:
    """Show the steps, or take them; then print the result. then: what the answers of the steps add to it."""
    if dry_run:
        print(json.dumps({"calls": plan.show(steps), "result": result, "missing": list(missing)}, indent=2))
        return 0
    if missing:
        raise AwsError("\n".join(missing))
    answers = plan.apply(steps, session, Progress())
    print(json.dumps(result | then(answers)))
    return 0
