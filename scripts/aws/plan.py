"""Plans: lists of steps that are shown by --dry-run and carried out otherwise, the same objects for both.

An argument may be `${step.Key}`: a value from the answer to an earlier step that was saved under that name.
"""

import re
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import jmespath

from scripts.aws import errors
from scripts.aws.errors import AwsError
from scripts.aws.session import Session

REFERENCE = re.compile(r"\$\{([\w-]+)\.([\w.\[\]]+)\}")
PATIENCE = 90.0  # s that a new role may take until every service knows it
SETTLE = 30.0  # s until a change that was accepted must show
PAUSE = 5.0  # s between two looks at something that is being made
WAIT_LIMIT = 45 * 60.0  # s until a wait is given up; SageMaker itself gives up earlier


@dataclass(frozen=True)
class File:
    """A file's bytes as an argument, opened when the call is made."""

    path: Path
    shown: str

    def __str__(self) -> str:
        return f"file:{self.shown}"


@dataclass(frozen=True)
class Call:
    """One call of boto3."""

    description: str  # shown while it runs
    service: str
    operation: str
    arguments: dict
    save: str = ""  # later steps may use its answer as ${save.Key}
    ignore_errors: tuple[str, ...] = ()  # codes or words of errors that mean that nothing is left to do
    retry_errors: tuple[str, ...] = ()  # words of errors that end by themselves within PATIENCE

    def show(self) -> dict:
        return {"service": self.service, "operation": self.operation, "arguments": plain(self.arguments)}

    def run(self, session: Session, answers: dict, say) -> None:
        say(self.description)
        give_up = time.monotonic() + PATIENCE
        while True:
            try:
                with ExitStack() as files:
                    answer = getattr(session.client(self.service), self.operation)(**resolve(self.arguments, answers, files))
                break
            except Exception as error:
                if errors.code(error) in self.ignore_errors or any(words in errors.message(error) for words in self.ignore_errors):
                    return
                if not any(words in errors.message(error) for words in self.retry_errors) or time.monotonic() > give_up:
                    raise
                say(f"{self.description}: waiting until the role is known everywhere", passing=True)
                session.sleep(PAUSE)
        if self.save:
            answers[self.save] = answer


@dataclass(frozen=True)
class Wait:
    """Look again and again until a status is reached."""

    description: str
    service: str
    operation: str
    arguments: dict
    path: str  # of the status in the answer
    until: tuple[str, ...]
    failed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()  # words of the error that mean that it no longer exists, where that is waited for
    expect: dict = field(default_factory=dict)  # what else must hold in the end, or it was rolled back
    logs: tuple[str, str] = ("", "")  # log group, and how its streams begin: shown when it fails
    limit: float = WAIT_LIMIT

    def show(self) -> dict:
        until = " or ".join(self.until) if self.until else "it is gone"
        return {
            "service": self.service,
            "operation": self.operation,
            "arguments": plain(self.arguments),
            "again_until": f"{self.path} is {until}" if self.until else until,
        }

    def run(self, session: Session, answers: dict, say) -> None:
        started = time.monotonic()
        while True:
            try:
                answer = getattr(session.client(self.service), self.operation)(**resolve(self.arguments, answers))
            except Exception as error:
                if any(words in errors.message(error) for words in self.gone):
                    return
                raise
            status = jmespath.search(self.path, answer)
            seconds = time.monotonic() - started
            say(f"{self.description}: {status}, {seconds:.0f} s", passing=True)
            if status in self.until:
                if all(answer.get(key) == value for key, value in self.expect.items()):
                    say(f"{self.description}: {status} after {seconds:.0f} s")
                    return
                if answer.get("FailureReason") or seconds > SETTLE:
                    self.fail(session, f"was rolled back: {answer.get('FailureReason') or 'AWS gives no reason'}")
            elif status in self.failed:
                self.fail(session, f"{status}: {answer.get('FailureReason') or 'AWS gives no reason'}")
            if seconds > self.limit:
                raise AwsError(
                    f"{self.description}: still {status} after {seconds / 60:.0f} minutes; it may yet come, run the command again."
                )
            session.sleep(PAUSE)

    def fail(self, session: Session, reason: str) -> None:
        tail = last_lines(session, *self.logs)
        raise AwsError(
            f"{self.description}: {' '.join(reason.split())}"
            + (
                f"\nThe container's last lines:\n{tail}"
                if tail
                else f"\nThe container has logged nothing in {self.logs[0]}."
                if self.logs[0]
                else ""
            )
        )


@dataclass(frozen=True)
class Run:
    """One command of this machine. What goes to its standard input is neither an argument nor shown."""

    description: str
    command: tuple[str, ...]
    secret: str = ""  # reference to an ECR token, whose password goes to standard input
    shown: bool = False  # its progress, where somebody looks

    def show(self) -> dict:
        return {"run": list(self.command)} | ({"standard_input": f"the password in {self.secret}"} if self.secret else {})

    def run(self, session: Session, answers: dict, say) -> None:
        say(self.description)
        text = session.password(resolve(self.secret, answers)) if self.secret else None
        command(self.command, text, self.shown and sys.stderr.isatty())


@dataclass(frozen=True)
class Fetch:
    """Download one object of S3. The file appears when it is complete."""

    description: str
    bucket: str
    key: str
    path: Path

    def show(self) -> dict:
        return {"service": "s3", "operation": "get_object", "arguments": {"Bucket": self.bucket, "Key": self.key}, "into": self.path.name}

    def run(self, session: Session, answers: dict, say) -> None:
        say(self.description)
        body = session.client("s3").get_object(Bucket=self.bucket, Key=self.key)["Body"]
        part = self.path.with_name(self.path.name + ".part")
        with open(part, "wb") as file:
            for chunk in body.iter_chunks(1 << 20):
                file.write(chunk)
        part.replace(self.path)


def command(arguments: tuple[str, ...], text: str | None = None, shown: bool = False) -> str:
    """Run a command; its output, or an error with the last line it said. `shown`: what it says goes to standard error instead."""
    streams = {"stdout": sys.stderr, "stderr": sys.stderr} if shown else {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    try:
        done = subprocess.run(arguments, input=text, text=True, **streams)
    except FileNotFoundError:
        raise AwsError(f"There is no {arguments[0]} here; install Docker, or set DOCKER to the command to use.") from None
    if done.returncode != 0:
        said = [line.strip() for line in (done.stderr or done.stdout or "see above").splitlines() if line.strip()]
        raise AwsError(f"`{' '.join(arguments[:2])}` failed: {said[-1].rstrip('.') if said else 'no message'}.")
    return done.stdout


def plain(value):
    """A value as it is shown: files by their names."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, File) else value


def resolve(value, answers: dict, files: ExitStack | None = None):
    """A value with every `${step.Key}` replaced, and files opened."""
    if isinstance(value, dict):
        return {key: resolve(item, answers, files) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [resolve(item, answers, files) for item in value]
    if isinstance(value, File) and files is not None:
        return files.enter_context(open(value.path, "rb"))
    if isinstance(value, str):
        return REFERENCE.sub(lambda found: str(jmespath.search(found[2], answers[found[1]])), value)
    return value


def show(steps: list) -> list[dict]:
    return [step.show() for step in steps]


def apply(steps: list, session: Session, say) -> dict:
    """Carry the steps out in order. Returns the answers that were saved."""
    answers: dict = {}
    for step in steps:
        step.run(session, answers, say)
    return answers


def last_lines(session: Session, group: str, prefix: str = "", count: int = 20) -> str:
    """The end of the newest log stream of a group, "" where there is none (or it may not be read)."""
    if not group:
        return ""
    try:
        logs = session.client("logs")
        where = {"logStreamNamePrefix": prefix} if prefix else {"orderBy": "LastEventTime", "descending": True}
        streams = logs.describe_log_streams(logGroupName=group, **where)["logStreams"]
        newest = max(streams, key=lambda stream: stream.get("lastEventTimestamp", stream.get("creationTime", 0)))
        events = logs.get_log_events(logGroupName=group, logStreamName=newest["logStreamName"], limit=count, startFromHead=False)
        return "\n".join("  " + event["message"].rstrip() for event in events["events"])
    except Exception:  # the failure itself matters more than missing log lines
        return ""
