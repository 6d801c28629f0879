"""Errors of AWS and boto3 as one sentence that says what to do about them."""

import re

from botocore import exceptions

from scripts.common.command import UserError

EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
UNKNOWN_KEYS = {
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "SignatureDoesNotMatch",
    "InvalidAccessKeyId",
    "AuthFailure",
    "InvalidSignatureException",
    "IncompleteSignature",
}
DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "Forbidden", "403", "AccessDeniedFault"}
QUOTA = {"ResourceLimitExceeded", "LimitExceeded", "LimitExceededException", "ServiceQuotaExceededException"}
THROTTLED = {
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "SlowDown",
    "RequestThrottled",
    "RequestThrottledException",
    "ProvisionedThroughputExceededException",
}


class AwsError(UserError):
    """The command cannot go on; one sentence."""


def code(error: Exception) -> str:
    """The error code of a refused call, "" for anything else."""
    return error.response.get("Error", {}).get("Code", "") if isinstance(error, exceptions.ClientError) else ""


def message(error: Exception) -> str:
    """What AWS said, on one line."""
    said = error.response.get("Error", {}).get("Message", "") if isinstance(error, exceptions.ClientError) else str(error)
    return " ".join(str(said).split())


def sentence(error: Exception) -> str:
    """One sentence for any error of boto3, or of ours."""
    if isinstance(error, AwsError):
        return str(error)
    if isinstance(error, exceptions.NoRegionError):
        return "No AWS region is set; give --region, for example us-east-1, or set AWS_REGION."
    if isinstance(error, exceptions.InvalidRegionError):
        return f"{message(error).rstrip('.')}; a region looks like us-east-1."
    if isinstance(error, exceptions.ProfileNotFound):
        return f"{message(error).rstrip('.')}; `aws configure list-profiles` shows those there are."
    if isinstance(error, (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)):
        return "There are no AWS credentials here; run `aws configure` or `aws sso login`, or set AWS_PROFILE."
    if isinstance(error, (exceptions.TokenRetrievalError, exceptions.SSOError, exceptions.CredentialRetrievalError)):
        return f"The AWS credentials cannot be had: {message(error).rstrip('.')}; log in again (`aws sso login`)."
    if isinstance(error, (exceptions.EndpointConnectionError, exceptions.ConnectTimeoutError)):
        return f"Nothing answers at {_address(error)}; is the region right, and is there a network?"
    if isinstance(error, exceptions.ClientError):
        return _refused(error)
    if isinstance(error, exceptions.ParamValidationError):
        return f"The call cannot be made: {message(error).removeprefix('Parameter validation failed: ').rstrip('.')}."
    return f"AWS did not answer: {message(error).rstrip('.') or type(error).__name__}."


def _refused(error: exceptions.ClientError) -> str:
    what, said = code(error), message(error).rstrip(".")
    call = error.operation_name
    if what in EXPIRED:
        return "The AWS credentials have expired; log in again (`aws sso login`, or new keys)."
    if what in UNKNOWN_KEYS:
        return "AWS does not accept these credentials; are the keys whole, and of this account?"
    if what in DENIED or "is not authorized to perform" in said:
        action = re.search(r"perform:? ([\w-]+:\w+)", said)
        place = re.search(r"on resource:? (\S+)", said)
        return (
            f"These credentials may not do {action[1] if action else call}{f' on {place[1]}' if place else ''}; "
            "`python -m scripts.deploy policy` prints the policy that is needed."
        )
    if what in QUOTA:
        return f"A quota of the account is used up: {said}; ask for more in the Service Quotas console, or take another instance type."
    if what in THROTTLED:
        return f"AWS asks to go slower ({call}): {said}; try again in a minute."
    if what in ("BucketAlreadyExists", "OperationAborted"):
        return "The bucket's name is taken by another account; choose one of your own with --bucket."
    return f"{call} was refused: {said or what}."


def _address(error: Exception) -> str:
    found = re.search(r'"(\S+?)"', str(error))
    return found[1] if found else "AWS"
