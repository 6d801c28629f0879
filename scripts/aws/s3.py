"""Addresses of objects in S3."""

from scripts.aws.errors import AwsError


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of s3://bucket/key."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise AwsError(f"{uri} is not s3://BUCKET/KEY.")
    return bucket, key
