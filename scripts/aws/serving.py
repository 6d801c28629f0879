"""The plan of a deployment: every call, in order, from the settings and the state of the account. Without side effects."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from scripts.aws import policies, scaling
from scripts.aws.errors import AwsError
from scripts.aws.found import Found, base64_of, model_key
from scripts.aws.names import ENDPOINTS, VARIANT, digest, pairs
from scripts.aws.plan import Call, Fetch, File, Wait
from scripts.aws.s3 import split_uri
from scripts.aws.settings import GPU_AMI, Settings

BUSY = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
BROKEN = ("Failed", "OutOfService", "UpdateRollbackFailed")  # nothing but to make it anew
GONE = ("Could not find", "does not exist")  # what SageMaker says of something deleted
# A role is known everywhere some seconds after it was made; until then this is what SageMaker says.
YOUNG_ROLE = ("ould not assume role", "sts:AssumeRole", "Could not access model data", "BatchGetImage permission")
ASYNC_TIMEOUT = 3600  # s that an asynchronous request may take; a worker must not be killed before


@dataclass(frozen=True)
class Deployment:
    """The steps, and the result that they lead to."""

    steps: list
    result: dict


def plan(found: Found, s: Settings, model: Path, moment: str, role: str = "", save: Path | None = None) -> Deployment:
    """Everything `deploy` does. `moment` names the job of a batch deployment; `role` is an ARN that takes the place of ours."""
    names, tags = found.names, pairs(found.names.tags() | s.tags)
    container: dict[str, Any] = {"Image": found.image.uri, "ModelDataUrl": f"s3://{found.bucket}/{model_key(names, found.model_sha256)}"}
    if variables := environment(s):
        container["Environment"] = variables
    # Serverless endpoints cannot be isolated; elsewhere the container gets no network, and needs none.
    create = {"PrimaryContainer": container, "ExecutionRoleArn": role or names.role_arn, "EnableNetworkIsolation": s.mode != "serverless"}
    model_name = names.model(digest(create))
    steps = [*bucket(found, tags), *access(found, s, role), *upload(found, s, model)]
    if model_name not in found.models:
        steps.append(
            Call(
                f"model {model_name}",
                "sagemaker",
                "create_model",
                {"ModelName": model_name, **create, "Tags": tags},
                retry_errors=() if role else YOUNG_ROLE,
            )
        )
    result = {
        "mode": s.mode,
        "region": names.region,
        "image": found.image.uri,
        "model": model_name,
        "model_data": container["ModelDataUrl"],
        "role": role or names.role_arn,
    }
    if s.mode in ENDPOINTS:
        more, config = endpoint(found, s, model_name, tags)
        result |= {"endpoint": names.deployment, "endpoint_config": config}
        if s.mode == "async":
            result["output"] = output(found)
    else:
        more, facts = transform(found, s, model_name, tags, names.job(moment), save)
        config, result = "", result | facts
    old = [
        Call(f"deleting the former {kind} {name}", "sagemaker", operation, {key: name}, ignore_errors=GONE)
        for kind, operation, key, names_, kept in (
            ("configuration", "delete_endpoint_config", "EndpointConfigName", found.configs, config),
            ("model", "delete_model", "ModelName", found.models, model_name),
        )
        for name in sorted(names_ - {kept})
    ]
    return Deployment(steps + more + old, result)


def environment(s: Settings) -> dict[str, str]:
    """What the container must be told beyond its defaults."""
    known = {
        "async": {"SAGEMAKER_MODEL_SERVER_TIMEOUT": str(ASYNC_TIMEOUT)},  # batch: the container sees SAGEMAKER_BATCH
        "serverless": {"SAGEMAKER_MODEL_SERVER_WORKERS": "1"},
    }.get(s.mode, {})
    return known | s.environment


def output(found: Found) -> str:
    return f"s3://{found.bucket}/{found.names.deployment}/output/"


def bucket(found: Found, tags: list) -> list[Call]:
    """SageMaker's bucket of the account and region, where it is not there yet."""
    if found.bucket_exists:
        return []
    where = {} if found.names.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": found.names.region}}
    return [
        Call(
            f"bucket {found.bucket}", "s3", "create_bucket", {"Bucket": found.bucket, **where}, ignore_errors=("BucketAlreadyOwnedByYou",)
        ),
        Call(
            "closing it to the public",
            "s3",
            "put_public_access_block",
            {
                "Bucket": found.bucket,
                "PublicAccessBlockConfiguration": dict.fromkeys(
                    ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
                ),
            },
        ),
        Call(
            "tagging it",
            "s3",
            "put_bucket_tagging",
            {"Bucket": found.bucket, "Tagging": {"TagSet": [tag for tag in tags if tag["Key"] == "project"]}},
        ),
    ]


def access(found: Found, s: Settings, role: str) -> list[Call]:
    """The execution role with the fewest permissions that do; no step where the caller gave a role."""
    if role:
        return []
    names = found.names
    folder = f"{found.bucket}/{names.deployment}"
    reads, writes = {
        "async": ([f"{folder}/input/"], [f"{folder}/output/"]),
        "batch": (
            [split_uri(s.input)[0] + "/" + split_uri(s.input)[1] if s.input.startswith("s3://") else f"{folder}/input/"],
            [f"{folder}/output/"],
        ),
    }.get(s.mode, ([], []))
    document = policies.execution(
        names,
        found.image.repository_arn,
        f"{folder}/model/*",
        reads,
        writes,
        [topic for topic in (s.success_topic, s.error_topic) if topic],
    )
    create = (
        []
        if found.role_exists
        else [
            Call(
                f"role {names.role}",
                "iam",
                "create_role",
                {
                    "RoleName": names.role,
                    "AssumeRolePolicyDocument": json.dumps(policies.trust(names)),
                    "Description": f"What SageMaker needs to run {names.deployment}.",
                    "Tags": pairs(names.tags() | s.tags),
                },
            )
        ]
    )
    return [
        *create,
        Call(
            "what the role may do",
            "iam",
            "put_role_policy",
            {"RoleName": names.role, "PolicyName": "access", "PolicyDocument": json.dumps(document)},
        ),
    ]


def upload(found: Found, s: Settings, model: Path) -> list[Call]:
    """Upload the model unless S3 has this file already. S3 refuses it if the checksum of what arrives differs."""
    if found.model_uploaded:
        return []
    return [
        Call(
            f"uploading {model.name}",
            "s3",
            "put_object",
            {
                "Bucket": found.bucket,
                "Key": model_key(found.names, found.model_sha256),
                "Body": File(model, f"{model.parent.name}/{model.name}"),
                "ChecksumAlgorithm": "SHA256",
                "ChecksumSHA256": base64_of(found.model_sha256),
                "ExpectedBucketOwner": found.names.account,
                "Tagging": urlencode(found.names.tags() | s.tags),
            },
        )
    ]


def configuration(found: Found, s: Settings, model_name: str) -> dict:
    """Arguments of create_endpoint_config but for its name and tags."""
    variant: dict = {"VariantName": VARIANT, "ModelName": model_name}
    if s.mode == "serverless":
        variant["ServerlessConfig"] = {"MemorySizeInMB": s.memory, "MaxConcurrency": s.concurrency}
        if s.provisioned:
            variant["ServerlessConfig"]["ProvisionedConcurrency"] = s.provisioned
        return {"ProductionVariants": [variant]}
    variant |= {
        "InstanceType": s.instance,
        "InitialInstanceCount": s.count,
        "ModelDataDownloadTimeoutInSeconds": s.download_timeout,
        "ContainerStartupHealthCheckTimeoutInSeconds": s.startup_timeout,
    }
    if s.gpu:
        variant["InferenceAmiVersion"] = GPU_AMI
    if s.mode == "realtime":  # a paraphrase of a long sentence takes longer than one of a short one: not turn by turn
        variant["RoutingConfig"] = {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"}
        return {"ProductionVariants": [variant]}
    results: dict = {"S3OutputPath": output(found), "S3FailurePath": output(found) + "failed/"}
    if topics := {key: topic for key, topic in (("SuccessTopic", s.success_topic), ("ErrorTopic", s.error_topic)) if topic}:
        results["NotificationConfig"] = topics
    return {
        "ProductionVariants": [variant],
        "AsyncInferenceConfig": {"ClientConfig": {"MaxConcurrentInvocationsPerInstance": s.per_instance}, "OutputConfig": results},
    }


def endpoint(found: Found, s: Settings, model_name: str, tags: list) -> tuple[list, str]:
    """Steps from a model to an endpoint that serves it, scales and is watched; the configuration's name."""
    names, there = found.names, found.endpoint
    arguments = configuration(found, s, model_name)
    config = names.model(digest(arguments))
    status = there["EndpointStatus"] if there else None
    if status in BUSY:
        until = "gone" if status == "Deleting" else "InService"
        raise AwsError(f"The endpoint {names.deployment} is {status}; wait until it is {until}, then run this again.")
    steps: list = []
    if config not in found.configs:
        steps.append(
            Call(
                f"endpoint configuration {config}",
                "sagemaker",
                "create_endpoint_config",
                {"EndpointConfigName": config, **arguments, "Tags": tags},
            )
        )
    steps += scaling.deregister(names, found.targets)  # or the update may be refused
    steps += scaling.forget(found.alarms - scaling.wanted_alarms(names, s))
    which = {"EndpointName": names.deployment}
    if status in BROKEN:
        steps += [
            Call(f"deleting {names.deployment}, which is {status}", "sagemaker", "delete_endpoint", which, ignore_errors=GONE),
            gone(names),
        ]
    if there is None or status in BROKEN:
        steps.append(
            Call(f"endpoint {names.deployment}", "sagemaker", "create_endpoint", {**which, "EndpointConfigName": config, "Tags": tags})
        )
    elif there["EndpointConfigName"] != config:  # blue/green: the old one serves until the new one does
        keep_count = s.mode == "realtime" and s.scaled and bool(found.targets)  # what autoscaling has come to
        steps.append(
            Call(
                f"updating {names.deployment}",
                "sagemaker",
                "update_endpoint",
                {**which, "EndpointConfigName": config, "RetainAllVariantProperties": keep_count},
            )
        )
        steps.append(Call("tagging it", "sagemaker", "add_tags", {"ResourceArn": there["EndpointArn"], "Tags": tags}))
    steps.append(
        Wait(
            f"endpoint {names.deployment}",
            "sagemaker",
            "describe_endpoint",
            which,
            "EndpointStatus",
            ("InService",),
            BROKEN,
            expect={"EndpointConfigName": config},
            logs=(f"/aws/sagemaker/Endpoints/{names.deployment}", ""),
        )
    )
    return steps + scaling.register(names, s) + scaling.watch(names, s), config


def gone(names) -> Wait:
    return Wait(
        f"deleting {names.deployment}",
        "sagemaker",
        "describe_endpoint",
        {"EndpointName": names.deployment},
        "EndpointStatus",
        (),
        ("Failed",),
        GONE,
    )


def transform(found: Found, s: Settings, model_name: str, tags: list, job: str, save: Path | None) -> tuple[list, dict]:
    """Steps of a transform job over JSON Lines; where its input and output lie."""
    names = found.names
    steps: list = []
    source = s.input
    if not source.startswith("s3://"):
        file = Path(source)
        source = f"s3://{found.bucket}/{names.deployment}/input/{job}/{file.name}"
        steps.append(
            Call(
                f"uploading {file.name}",
                "s3",
                "put_object",
                {
                    "Bucket": found.bucket,
                    "Key": split_uri(source)[1],
                    "Body": File(file, file.name),
                    "ChecksumAlgorithm": "SHA256",
                    "ExpectedBucketOwner": names.account,
                    "Tagging": urlencode(names.tags() | s.tags),
                },
            )
        )
    target = f"{output(found)}{job}"
    steps += [
        Call(
            f"transform job {job}",
            "sagemaker",
            "create_transform_job",
            {
                "TransformJobName": job,
                "ModelName": model_name,
                "BatchStrategy": s.strategy,
                "MaxPayloadInMB": s.payload,
                **({"MaxConcurrentTransforms": s.transforms} if s.transforms else {}),
                "ModelClientConfig": {"InvocationsTimeoutInSeconds": s.timeout, "InvocationsMaxRetries": 1},
                "TransformInput": {
                    "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": source}},
                    "ContentType": "application/jsonlines",
                    "SplitType": "Line",
                },
                "TransformOutput": {"S3OutputPath": target, "Accept": "application/jsonlines", "AssembleWith": "Line"},
                "TransformResources": {"InstanceType": s.instance, "InstanceCount": s.count},
                "Tags": tags,
            },
            retry_errors=YOUNG_ROLE,
        ),
        Wait(
            f"transform job {job}",
            "sagemaker",
            "describe_transform_job",
            {"TransformJobName": job},
            "TransformJobStatus",
            ("Completed",),
            ("Failed", "Stopped"),
            logs=("/aws/sagemaker/TransformJobs", job),
            limit=24 * 3600.0,
        ),
    ]
    if save:
        steps.append(Fetch(f"answers to {save.name}", found.bucket, f"{split_uri(target)[1]}/{Path(source).name}.out", save))
    return steps, {"job": job, "input": source, "output": target}
