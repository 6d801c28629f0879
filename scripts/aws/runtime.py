"""Requests to an endpoint: which failures are retried, when, and what the others mean."""

import random
import re
import time
import uuid
from dataclasses import dataclass

from botocore import exceptions

from scripts.aws import errors
from scripts.aws.errors import AwsError
from scripts.aws.s3 import split_uri
from scripts.aws.session import Session
from scripts.common.answers import reason_of

ATTEMPTS = 8  # of one call; with the pauses between them, half a minute on average
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 20.0  # s; the pause doubles, and is drawn anew between nothing and that
READ_TIMEOUT = 70.0  # s; SageMaker itself gives up after 60
ASYNC_TIMEOUT = 3600.0  # s until an asynchronous answer
AGAIN, SPLIT, REFUSED, STOP = "again", "split", "refused", "stop"
BUSY = {
    "ModelNotReadyException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "InternalFailure",
    "InternalServerError",
    "InternalDependencyException",
    "InternalServiceException",
    *errors.THROTTLED,
}
LOST = (
    exceptions.EndpointConnectionError,
    exceptions.ConnectionClosedError,
    exceptions.ConnectTimeoutError,
    exceptions.ReadTimeoutError,
    exceptions.HTTPClientError,
)


@dataclass(frozen=True)
class Verdict:
    """What to do about a call that failed."""

    what: str  # AGAIN; SPLIT: with fewer records; REFUSED: the record's fault; STOP: no call will do better
    status: int  # the container's, 0 if it said nothing
    sentence: str


class Unanswered(Exception):
    """A call that failed for good."""

    def __init__(self, verdict: Verdict):
        super().__init__(verdict.sentence)
        self.verdict = verdict


def judge(error: Exception) -> Verdict:
    """The verdict on an error of boto3. A request that was itself at fault is never sent again."""
    if isinstance(error, LOST):
        return Verdict(AGAIN, 0, errors.sentence(error))
    code = errors.code(error)
    if code in BUSY:
        return Verdict(AGAIN, 0, errors.sentence(error))
    if code == "413" or (code in ("ValidationError", "ValidationException") and re.search(r"length|size", errors.message(error))):
        return Verdict(SPLIT, 413, "The request is larger than the endpoint takes.")
    if code != "ModelError":
        return Verdict(STOP, 0, errors.sentence(error))
    response = getattr(error, "response", {})
    status = int(response.get("OriginalStatusCode") or 0)
    return model_error(status, str(response.get("OriginalMessage") or errors.message(error)))


def model_error(status: int, said: str) -> Verdict:
    """The verdict on what a container answered."""
    text = f"The model answered {status}: {reason_of(said)}" if status else f"The model did not answer: {reason_of(said)}"
    if status in (408, 413, 504) or (not status and "timed out" in said):
        return Verdict(SPLIT, status, text)
    if not status or status >= 500:
        return Verdict(AGAIN, status, text)
    return Verdict(REFUSED, status, text)


class Endpoint:
    """A real-time or serverless endpoint. May be asked from several threads."""

    sleep, random = staticmethod(time.sleep), staticmethod(random.random)

    def __init__(self, session: Session, name: str, concurrency: int = 1, timeout: float = READ_TIMEOUT):
        self.name, self.session, self.timeout = name, session, timeout
        self.runtime = session.client(
            "sagemaker-runtime",
            retries={"total_max_attempts": 1},
            read_timeout=timeout,
            connect_timeout=10,
            max_pool_connections=max(10, concurrency),
        )
        self.retried = 0

    def call(self, body: bytes, content_type: str) -> str:
        answer = self.runtime.invoke_endpoint(EndpointName=self.name, ContentType=content_type, Accept=content_type, Body=body)
        return answer["Body"].read().decode("utf-8", "replace")

    def send(self, body: bytes, content_type: str, attempts: int = ATTEMPTS) -> str:
        """The answer's text. Raises Unanswered."""
        for attempt in range(attempts):
            try:
                return self.call(body, content_type)
            except Unanswered as error:
                verdict = error.verdict
            except (exceptions.BotoCoreError, exceptions.ClientError) as error:
                verdict = judge(error)
            if verdict.what != AGAIN or attempt == attempts - 1:
                raise Unanswered(verdict)
            self.retried += 1
            self.sleep(self.random() * min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt))
        raise AssertionError("attempts must be at least 1")


class AsyncEndpoint(Endpoint):
    """An asynchronous endpoint: bodies go through S3, answers are fetched from there when they come."""

    def __init__(self, session: Session, name: str, concurrency: int = 1, timeout: float = ASYNC_TIMEOUT):
        super().__init__(session, name, concurrency)
        self.timeout = timeout
        sagemaker, self.s3 = session.client("sagemaker"), session.client("s3")
        config = sagemaker.describe_endpoint_config(EndpointConfigName=sagemaker.describe_endpoint(EndpointName=name)["EndpointConfigName"])
        if "AsyncInferenceConfig" not in config:
            raise AwsError(f"The endpoint {name} is not asynchronous; leave --async out.")
        self.folder = config["AsyncInferenceConfig"]["OutputConfig"]["S3OutputPath"].rstrip("/").removesuffix("/output") + "/input"

    def call(self, body: bytes, content_type: str) -> str:
        bucket, key = split_uri(f"{self.folder}/{uuid.uuid4()}")
        self.s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType=content_type)
        asked = self.runtime.invoke_endpoint_async(
            EndpointName=self.name,
            ContentType=content_type,
            Accept=content_type,
            InputLocation=f"s3://{bucket}/{key}",
            InvocationTimeoutSeconds=int(min(self.timeout, ASYNC_TIMEOUT)),
        )
        pause, give_up = 0.5, time.monotonic() + self.timeout
        while time.monotonic() < give_up:
            if (answer := self.fetch(asked["OutputLocation"])) is not None:
                return answer
            if (failure := self.fetch(asked.get("FailureLocation"))) is not None:
                found = re.search(r"error \((\d{1,3})\)", failure)
                raise Unanswered(model_error(int(found[1]) if found else 0, failure))
            self.sleep(pause)
            pause = min(5.0, pause * 1.5)
        raise Unanswered(Verdict(STOP, 0, f"No answer came to {asked['OutputLocation']} in {self.timeout:g} s."))

    def fetch(self, location: str | None) -> str | None:
        """The text of an object, None while it is not there."""
        if not location:
            return None
        bucket, key = split_uri(location)
        try:
            return self.s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode("utf-8", "replace")
        except exceptions.ClientError as error:
            if errors.code(error) in ("NoSuchKey", "404"):
                return None
            raise
