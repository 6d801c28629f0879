"""The plan of a removal: finds what belongs to a deployment by name and tag, and lists the calls that delete it."""

import re
from dataclasses import dataclass, field

from scripts.aws import errors, found, scaling
from scripts.aws.names import ENDPOINTS, PROJECT, REPOSITORY, Names
from scripts.aws.plan import Call, Wait
from scripts.aws.s3 import split_uri
from scripts.aws.serving import BROKEN, BUSY, GONE, gone
from scripts.aws.session import Session

MISSING = ("NoSuchBucket", "404", "NoSuchKey")


@dataclass(frozen=True)
class Remains:
    """The resources of one deployment that exist."""

    names: Names
    endpoint: str = ""  # its status, "" if there is none
    jobs: tuple = ()  # that run
    configs: tuple = ()
    models: tuple = ()
    alarms: tuple = ()
    targets: dict = field(default_factory=dict)
    role_policies: tuple | None = None  # None: there is no role
    objects: dict = field(default_factory=dict)  # bucket -> keys of uploaded models
    results: dict = field(default_factory=dict)  # bucket -> keys of inputs and outputs
    log_group: bool = False
    foreign: tuple = ()  # sentences about what has the name but not the tag


@dataclass(frozen=True)
class Shared:
    """The resources that all deployments share."""

    repository: str | None = None  # in ECR: why it must stay, "" if it need not, None if there is none
    buckets: dict = field(default_factory=dict)  # the same by name


def look(session: Session, names: Names, bucket: str = "") -> Remains:
    foreign: list[str] = []

    def ours(ask, nothing):
        try:
            return ask()
        except found.Foreign as error:
            foreign.append(str(error).partition(";")[0])
            return nothing

    endpoint = ours(lambda: found.describe_endpoint(session, names), None) if names.mode in ENDPOINTS else None
    role = ours(lambda: found.role_exists(session, names), False)
    models = found.owned(session, names, "model")
    buckets = {bucket or names.bucket, *(split_uri(where)[0] for where in places(session, models))}
    keys = {each: listing(session, each, f"{names.deployment}/", names.account) for each in sorted(buckets)}
    uploads = {each: [key for key in keys[each] if key.startswith(f"{names.deployment}/model/")] for each in keys}
    return Remains(
        names,
        endpoint["EndpointStatus"] if endpoint else "",
        tuple(found.running_jobs(session, names)) if names.mode == "batch" else (),
        tuple(found.owned(session, names, "endpoint-config")),
        tuple(models),
        tuple(found.alarms(session, names)),
        found.targets(session, names),
        tuple(session.client("iam").list_role_policies(RoleName=names.role)["PolicyNames"]) if role else None,
        {each: some for each, some in uploads.items() if some},
        {each: rest for each in keys if (rest := [key for key in keys[each] if key not in set(uploads[each])])},
        names.mode in ENDPOINTS and log_group(session, f"/aws/sagemaker/Endpoints/{names.deployment}"),
        tuple(foreign),
    )


def places(session: Session, models: list[str]) -> list[str]:
    """Where models lie in S3."""
    described = (session.client("sagemaker").describe_model(ModelName=model) for model in models)
    return [model["PrimaryContainer"]["ModelDataUrl"] for model in described if model.get("PrimaryContainer", {}).get("ModelDataUrl")]


def listing(session: Session, bucket: str, prefix: str, account: str) -> list[str]:
    """Keys under a prefix; none in a bucket that is not there, or not ours."""
    try:
        pages = session.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, ExpectedBucketOwner=account)
        return [item["Key"] for page in pages for item in page.get("Contents", ())]
    except Exception as error:
        if errors.code(error) in MISSING:
            return []
        raise


def log_group(session: Session, name: str) -> bool:
    groups = session.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    return any(group["logGroupName"] == name for group in groups)


def look_shared(session: Session, remains: list[Remains], bucket: str = "", repository: str = REPOSITORY) -> Shared:
    """The repository and the buckets: made by these commands, and what else is in them."""
    ecr, s3, account = session.client("ecr"), session.client("s3"), remains[0].names.account
    ours = {"Key": "project", "Value": PROJECT}
    images: str | None = ""
    try:
        arn = ecr.describe_repositories(repositoryNames=[repository])["repositories"][0]["repositoryArn"]
        if ours not in ecr.list_tags_for_resource(resourceArn=arn)["tags"]:
            images = "push_image did not make it"
    except Exception as error:
        if errors.code(error) != "RepositoryNotFoundException":
            raise
        images = None
    buckets = {}
    for each in sorted({bucket or remains[0].names.bucket} | {name for one in remains for name in (*one.objects, *one.results)}):
        try:
            tags = s3.get_bucket_tagging(Bucket=each, ExpectedBucketOwner=account)["TagSet"]
        except Exception as error:
            if errors.code(error) in MISSING:
                continue
            if errors.code(error) != "NoSuchTagSet":
                raise
            tags = []
        removed = {key for one in remains for keys in (one.objects, one.results) for key in keys.get(each, ())}
        buckets[each] = (
            "deploy did not make it"
            if ours not in tags
            else ""
            if set(listing(session, each, "", account)) <= removed
            else "it holds other things too"
        )
    return Shared(images, buckets)


def plan(remains: Remains, everything: bool = False) -> list:
    """The steps that delete one deployment, in reverse order of creation."""
    names = remains.names
    which = {"EndpointName": names.deployment}
    steps: list = []
    for job in remains.jobs:
        steps += [
            Call(f"stopping job {job}", "sagemaker", "stop_transform_job", {"TransformJobName": job}, ignore_errors=GONE),
            Wait(
                f"job {job}",
                "sagemaker",
                "describe_transform_job",
                {"TransformJobName": job},
                "TransformJobStatus",
                ("Stopped", "Completed", "Failed"),
            ),
        ]
    steps += scaling.forget(remains.alarms) + scaling.deregister(names, remains.targets)
    if remains.endpoint in BUSY and remains.endpoint != "Deleting":  # nothing can be done to it before it has settled
        steps.append(
            Wait(
                f"endpoint {names.deployment}, before it can be deleted",
                "sagemaker",
                "describe_endpoint",
                which,
                "EndpointStatus",
                ("InService", *BROKEN),
                gone=GONE,
            )
        )
    if remains.endpoint:
        if remains.endpoint != "Deleting":
            steps.append(Call(f"deleting endpoint {names.deployment}", "sagemaker", "delete_endpoint", which, ignore_errors=GONE))
        steps.append(gone(names))
    steps += [
        Call(f"deleting configuration {name}", "sagemaker", "delete_endpoint_config", {"EndpointConfigName": name}, ignore_errors=GONE)
        for name in remains.configs
    ]
    steps += [
        Call(f"deleting model {name}", "sagemaker", "delete_model", {"ModelName": name}, ignore_errors=GONE) for name in remains.models
    ]
    if remains.role_policies is not None:
        steps += [
            Call(
                f"deleting policy {policy} of role {names.role}",
                "iam",
                "delete_role_policy",
                {"RoleName": names.role, "PolicyName": policy},
                ignore_errors=("NoSuchEntity",),
            )
            for policy in remains.role_policies
        ]
        steps.append(Call(f"deleting role {names.role}", "iam", "delete_role", {"RoleName": names.role}, ignore_errors=("NoSuchEntity",)))
    steps += delete_objects("uploaded model files", remains.objects, names.account)
    if everything:
        steps += delete_objects("inputs and outputs", remains.results, names.account)
        if remains.log_group:
            steps.append(
                Call(
                    "deleting its log",
                    "logs",
                    "delete_log_group",
                    {"logGroupName": f"/aws/sagemaker/Endpoints/{names.deployment}"},
                    ignore_errors=("ResourceNotFoundException",),
                )
            )
    return steps


def delete_objects(what: str, objects: dict, account: str) -> list[Call]:
    return [
        Call(
            f"deleting {what} in {bucket} ({len(part)})",
            "s3",
            "delete_objects",
            {"Bucket": bucket, "Delete": {"Objects": [{"Key": key} for key in part], "Quiet": True}, "ExpectedBucketOwner": account},
        )
        for bucket, keys in objects.items()
        for part in (keys[start : start + 1000] for start in range(0, len(keys), 1000))
    ]


def plan_shared(shared: Shared, repository: str = REPOSITORY) -> list[Call]:
    steps = [
        Call(f"deleting bucket {bucket}", "s3", "delete_bucket", {"Bucket": bucket}, ignore_errors=("NoSuchBucket",))
        for bucket, reason in shared.buckets.items()
        if not reason
    ]
    if shared.repository == "":
        steps.append(
            Call(
                f"deleting repository {repository} and its images",
                "ecr",
                "delete_repository",
                {"repositoryName": repository, "force": True},
                ignore_errors=("RepositoryNotFoundException",),
            )
        )
    return steps


def kept_shared(shared: Shared, everything: bool, repository: str = REPOSITORY) -> list[dict[str, str]]:
    """The shared resources that are kept, and why."""
    there = {f"bucket {bucket}": reason for bucket, reason in shared.buckets.items()}
    if shared.repository is not None:
        there[f"ECR repository {repository}"] = shared.repository
    return [
        {"what": what, "why": reason or "deployments share it; --everything deletes it"}
        for what, reason in there.items()
        if reason or not everything
    ]


def deleted(steps: list) -> list[str]:
    """What the steps delete, in words."""
    return [re.sub("^(deleting|stopping|ending) ", "", step.description) for step in steps if isinstance(step, Call)]


def kept(remains: Remains, everything: bool) -> list[dict[str, str]]:
    """The resources of a deployment that are kept, and why."""
    stays = [{"what": sentence, "why": "it does not carry the tag of this deployment"} for sentence in remains.foreign]
    if not everything:
        stays += [
            {
                "what": f"s3://{bucket}/{remains.names.deployment}/: {len(keys)} inputs and outputs",
                "why": "they are yours; --everything deletes them",
            }
            for bucket, keys in remains.results.items()
        ]
        if remains.log_group:
            stays.append(
                {
                    "what": f"log group /aws/sagemaker/Endpoints/{remains.names.deployment}",
                    "why": "it says what happened; --everything deletes it",
                }
            )
    return stays
