"""The state of the account, read by calls that change nothing. Plans depend on this and on nothing else in AWS."""

import base64
import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path

from scripts.aws import errors
from scripts.aws.errors import AwsError
from scripts.aws.names import ENDPOINTS, REPOSITORY, UNKNOWN, Names
from scripts.aws.session import Session

GIGABYTE = 1 << 30


class Foreign(AwsError):
    """A name is taken by something that does not carry the deployment's tag."""


@dataclass(frozen=True)
class Image:
    """An image in ECR, by digest."""

    uri: str
    repository_arn: str
    media_type: str = ""
    size: int = 0  # bytes, compressed


@dataclass(frozen=True)
class Found:
    """The state of the account that a deployment's plan depends on."""

    names: Names
    image: Image
    bucket: str
    bucket_exists: bool = False
    model_sha256: str = "${model-sha256}"  # of the local file, hexadecimal
    model_uploaded: bool = False
    role_exists: bool = False
    endpoint: dict | None = None  # as described, or None
    models: frozenset = frozenset()  # of this deployment, by name
    configs: frozenset = frozenset()
    alarms: frozenset = frozenset()
    targets: dict = field(default_factory=dict)  # scalable dimensions that are registered -> names of their policies
    missing: tuple[str, ...] = field(default=())  # why the plan could not be carried out, a sentence each


def checksum(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def base64_of(hexadecimal: str) -> str:
    """A checksum as S3 wants it."""
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode() if re.fullmatch("[0-9a-f]{64}", hexadecimal) else hexadecimal


def model_key(names: Names, sha256: str) -> str:
    """Where a model lies in the bucket: another file never takes the place of one that an endpoint runs."""
    return f"{names.deployment}/model/{sha256[:16]}/model.tar.gz"


def look(
    session: Session,
    names: Names,
    model: Path,
    tag: str,
    bucket: str = "",
    repository: str = REPOSITORY,
    image: str = "",
    role_given: bool = False,
) -> Found:
    """Everything a plan needs to know; without credentials, an empty account's."""
    bucket = bucket or names.bucket
    missing, sha256 = [], "${model-sha256}"
    if model.is_file():
        sha256 = checksum(model)
        if model.stat().st_size > 5 * GIGABYTE:
            missing.append(f"{model.name} is larger than 5 GB, the most that one upload may have.")
    else:
        missing.append(f"There is no {model.name} in {model.parent.name}; `python -m scripts.build_archive --format tgz` builds it.")
    if names.account == UNKNOWN:
        missing.append("There are no AWS credentials here; run `aws configure` or `aws sso login`, or set AWS_PROFILE.")
        return Found(names, unknown_image(names, repository, image), bucket, model_sha256=sha256, missing=tuple(missing))
    there = image_in_ecr(session, names, repository, tag, image)
    if there is None:
        missing.append(
            f"The image {image or f'{repository}:{tag}'} is not in ECR in {names.region}; `python -m scripts.push_image` puts it there."
        )
    endpoint = describe_endpoint(session, names) if names.mode in ENDPOINTS else None
    exists = bucket_exists(session, bucket, names.account)
    return Found(
        names,
        there or unknown_image(names, repository, image),
        bucket,
        exists,
        sha256,
        exists and uploaded(session, bucket, model_key(names, sha256), sha256),
        not role_given and role_exists(session, names),
        endpoint,
        frozenset(owned(session, names, "model")),
        frozenset(owned(session, names, "endpoint-config")),
        frozenset(alarms(session, names)),
        targets(session, names),
        tuple(missing),
    )


def unknown_image(names: Names, repository: str, image: str) -> Image:
    arn = f"arn:{names.partition}:ecr:{names.region}:{names.account}:repository/{repository}"
    return Image(image or f"{names.registry}/{repository}@${{image-digest}}", arn)


def image_in_ecr(session: Session, names: Names, repository: str, tag: str, image: str = "") -> Image | None:
    """The image of a tag, by digest; None if it is not there. `image` names another: [REGISTRY/]REPOSITORY[:TAG|@DIGEST]."""
    if image:
        found = re.fullmatch(r"(?:([\w-]+\.[\w.-]+)/)?([\w./-]+?)(?::([\w.-]+)|@(sha256:[0-9a-f]{64}))?", image)
        if not found:
            raise AwsError(f"--image {image} is not REPOSITORY:TAG or REPOSITORY@DIGEST.")
        if found[1] not in (None, names.registry):
            raise AwsError(f"--image {image} is not in {names.registry}, the registry of this account and region.")
        repository, tag, digest = found[2], found[3] or tag, found[4]
    wanted = {"imageDigest": digest} if image and digest else {"imageTag": tag}
    ecr = session.client("ecr")
    try:
        place = ecr.describe_repositories(repositoryNames=[repository])["repositories"][0]
        [details] = ecr.describe_images(repositoryName=repository, imageIds=[wanted])["imageDetails"][:1]
    except Exception as error:
        if errors.code(error) in ("RepositoryNotFoundException", "ImageNotFoundException"):
            return None
        raise
    return Image(
        f"{place['repositoryUri']}@{details['imageDigest']}",
        place["repositoryArn"],
        details.get("imageManifestMediaType") or "",
        details.get("imageSizeInBytes") or 0,
    )


def objections(image: Image, serverless: bool = False) -> list[str]:
    """Reasons against an image: those that are certain to fail are raised, those that are likely to are returned."""
    if "index" in image.media_type or "manifest.list" in image.media_type:
        raise AwsError(
            "The image in ECR is an index of several images, which SageMaker refuses; build it with "
            "`docker build --provenance=false --platform linux/amd64` and push it again."
        )
    if serverless and image.size > 10e9:
        raise AwsError(f"The image has {image.size / 1e9:.1f} GB in ECR; serverless endpoints take up to 10 GB unpacked.")
    if "oci.image.manifest" in image.media_type:
        return ["The image is stored in the OCI format, which SageMaker may refuse; if it does, build it with the output type docker."]
    return []


def describe_endpoint(session: Session, names: Names) -> dict | None:
    """The endpoint of the deployment, None if there is none; an error if it is somebody else's."""
    client = session.client("sagemaker")
    for page in client.get_paginator("list_endpoints").paginate(NameContains=names.deployment):
        for summary in page["Endpoints"]:
            if summary["EndpointName"] == names.deployment:
                if not tagged(session, summary["EndpointArn"], names):
                    raise Foreign(f"There is an endpoint {names.deployment} that these commands did not make; choose another --name.")
                return client.describe_endpoint(EndpointName=names.deployment)
    return None


def tagged(session: Session, arn: str, names: Names) -> bool:
    """Whether a SageMaker resource carries this deployment's tag."""
    tags = session.client("sagemaker").list_tags(ResourceArn=arn)["Tags"]
    return {"Key": "deployment", "Value": names.deployment} in tags


def owned(session: Session, names: Names, kind: str) -> list[str]:
    """Names of the models or endpoint configurations of this deployment: by name first, then by tag."""
    operation, items, key = {
        "model": ("list_models", "Models", "Model"),
        "endpoint-config": ("list_endpoint_configs", "EndpointConfigs", "EndpointConfig"),
    }[kind]
    found = []
    for page in session.client("sagemaker").get_paginator(operation).paginate(NameContains=names.deployment):
        for summary in page[items]:
            name = summary[f"{key}Name"]
            if re.fullmatch(names.model("[0-9a-f]{8}"), name) and tagged(session, summary[f"{key}Arn"], names):
                found.append(name)
    return sorted(found)


def running_jobs(session: Session, names: Names) -> list[str]:
    """Transform jobs of this deployment that have not ended."""
    pages = (
        session.client("sagemaker").get_paginator("list_transform_jobs").paginate(NameContains=names.deployment, StatusEquals="InProgress")
    )
    return sorted(
        job["TransformJobName"]
        for page in pages
        for job in page["TransformJobSummaries"]
        if re.fullmatch(names.job(r"\d{8}-\d{6}"), job["TransformJobName"]) and job["TransformJobStatus"] == "InProgress"
    )


def bucket_exists(session: Session, bucket: str, account: str) -> bool:
    try:
        session.client("s3").head_bucket(Bucket=bucket, ExpectedBucketOwner=account)
        return True
    except Exception as error:
        if errors.code(error) in ("404", "NoSuchBucket"):
            return False
        if errors.code(error) in ("403", "301", "400"):
            raise AwsError(
                f"The bucket {bucket} is another account's, in another region, or may not be read with these "
                "credentials; choose one with --bucket."
            ) from None
        raise


def uploaded(session: Session, bucket: str, key: str, sha256: str) -> bool:
    """Whether S3 has this file, by the checksum that S3 computed when it was uploaded."""
    try:
        head = session.client("s3").head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    except Exception as error:
        if errors.code(error) in ("404", "NoSuchKey", "403"):
            return False
        raise
    return head.get("ChecksumSHA256") == base64_of(sha256)


def role_exists(session: Session, names: Names) -> bool:
    try:
        role = session.client("iam").get_role(RoleName=names.role)["Role"]
    except Exception as error:
        if errors.code(error) == "NoSuchEntity":
            return False
        raise
    if {"Key": "deployment", "Value": names.deployment} not in role.get("Tags", []):
        raise Foreign(f"There is a role {names.role} that these commands did not make; choose another --name, or give --role.")
    return True


def alarms(session: Session, names: Names) -> list[str]:
    if names.mode not in ENDPOINTS:
        return []
    there = session.client("cloudwatch").describe_alarms(AlarmNames=list(names.alarms.values()))
    return [alarm["AlarmName"] for alarm in there["MetricAlarms"]]


def targets(session: Session, names: Names) -> dict[str, tuple[str, ...]]:
    """Scalable dimensions of the endpoint that are registered with Application Auto Scaling, and the names of their policies."""
    if names.mode not in ENDPOINTS:
        return {}
    scaling = session.client("application-autoscaling")
    there = scaling.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[names.resource])["ScalableTargets"]
    if not there:
        return {}
    policies = scaling.describe_scaling_policies(ServiceNamespace="sagemaker", ResourceId=names.resource)["ScalingPolicies"]
    return {
        dimension: tuple(sorted(policy["PolicyName"] for policy in policies if policy["ScalableDimension"] == dimension))
        for dimension in sorted(target["ScalableDimension"] for target in there)
    }
