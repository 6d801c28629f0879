"""Errors of the AWS commands, found before AWS is called or reported by AWS: each is one sentence."""

import json
import os
import re
from dataclasses import replace

import pytest
from botocore import exceptions

from scripts import delete, deploy, invoke, push_image
from scripts.aws import errors
from scripts.aws.errors import AwsError, sentence
from scripts.aws.found import objections
from scripts.aws.names import MODES, digest
from scripts.aws.serving import configuration
from scripts.aws.session import Session
from scripts.aws.settings import GPU_AMI, MEMORY, settings
from scripts.common.paths import ROOT
from tests.aws.test_plans import IMAGE, TOPIC, names, nothing


@pytest.mark.parametrize(
    "mode, given, words",
    [
        ("serverless", {"memory": 1000}, "--memory must be one of 1024"),
        ("serverless", {"memory": 7168}, "--memory"),
        ("serverless", {"concurrency": 201}, "--concurrency must be from 1 to 200"),
        ("serverless", {"provisioned": 6}, "--provisioned must be from 0 to 5"),
        ("serverless", {"max_provisioned": 3}, "give --provisioned too"),
        ("serverless", {"provisioned": 3, "max_provisioned": 2}, "--max-provisioned must be from 3"),
        ("serverless", {"instance": "ml.m5.large"}, "--instance-type is for realtime and async and batch, not for serverless."),
        ("realtime", {"memory": 2048}, "--memory is for serverless, not for realtime."),
        ("realtime", {"instance": "m5.large"}, "must look like ml.m5.xlarge"),
        ("realtime", {"instance": "ml.c7g.large"}, "ARM"),
        ("realtime", {"instance": "ml.inf2.xlarge"}, "accelerator"),
        ("realtime", {"instance": "ml.p3.2xlarge"}, "CUDA 13 no longer supports"),
        ("realtime", {"count": 0}, "--instances must be from 1"),
        ("realtime", {"min_count": 0, "max_count": 2}, "cannot scale to zero"),
        ("realtime", {"min_count": 2}, "give --max-instances too"),
        ("realtime", {"count": 3, "max_count": 2}, "--max-instances must be from 3"),
        ("realtime", {"target": 5.0}, "--target is for autoscaling"),
        ("realtime", {"startup_timeout": 59}, "--startup-timeout must be from 60 to 3600, not 59."),
        ("realtime", {"scale_on": "mood"}, "--scale-on is"),
        ("realtime", {"alarm_topic": TOPIC}, "give --alarms too"),
        ("realtime", {"alarms": True, "alarm_topic": "mail"}, "--alarm-topic must be the ARN"),
        ("async", {"per_instance": 0}, "--concurrency-per-instance must be from 1"),
        ("async", {"error_topic": "x"}, "--error-topic must be the ARN"),
        ("batch", {}, "--input says what"),
        ("batch", {"input": "s3://a/b", "instance": "ml.g5.xlarge"}, "470 or 535"),
        ("batch", {"input": "s3://a/b", "payload": 20, "transforms": 6}, "may be 100 MB, not 120"),
        ("batch", {"input": "s3://a/b", "strategy": "Some"}, "--strategy is"),
        ("batch", {"input": "s3://a/b", "timeout": 4000}, "--timeout"),
        ("serverless", {"environment": {"1A": "x"}}, "--env 1A"),
        ("serverless", {"environment": {"A": "x" * 1025}}, "--env A"),
        ("serverless", {"tags": {"project": "x"}}, "--tag project"),
        ("batch", {"input": "s3://a/b", "alarms": True}, "--alarms is for"),
    ],
)
def test_what_aws_would_refuse_is_refused_first(mode, given, words):
    with pytest.raises(AwsError, match=re.escape(words)):
        settings(mode, given)


def test_what_is_allowed_is_allowed():
    assert [settings("serverless", {"memory": size}).memory for size in MEMORY] == [1024, 2048, 3072, 4096, 5120, 6144]
    assert settings("async", {"max_count": 1}).min_count == 0 and settings("async", {"max_count": 1, "min_count": 1}).min_count == 1
    for kind, gpu in {
        "ml.g4dn.xlarge": True,
        "ml.g6e.xlarge": True,
        "ml.p5.4xlarge": True,
        "ml.p6-b200.48xlarge": True,
        "ml.m5.xlarge": False,
        "ml.c6i.2xlarge": False,
        "ml.r7i.large": False,
    }.items():
        wanted = settings("realtime", {"instance": kind})
        [variant] = configuration(nothing("realtime"), wanted, "m")["ProductionVariants"]
        assert wanted.gpu == gpu == (variant.get("InferenceAmiVersion") == GPU_AMI) == wanted.image_tag.endswith("-gpu")


@pytest.mark.parametrize("name", ["", "a_b", "a b", "-a", "a-", "ä", "a" * 64, "a" * 60])
def test_names_are_checked_before_any_call(name):
    with pytest.raises(AwsError, match="name"):
        names(name=name)


def test_every_name_fits():
    longest = "a" * 31
    for mode in MODES:
        made = names(mode, name=longest, region="ap-southeast-1")
        assert max(map(len, (made.deployment, made.role, made.model(digest({})), made.job("20300101-120000")))) <= 63
        assert len(made.role) <= 64


@pytest.mark.parametrize(
    "media_type, size, words",
    [
        ("application/vnd.oci.image.index.v1+json", 1, "index of several"),
        ("application/vnd.docker.distribution.manifest.list.v2+json", 1, "index"),
        ("", 11 * 10**9, "11.0 GB"),
    ],
)
def test_images_that_sagemaker_refuses(media_type, size, words):
    with pytest.raises(AwsError, match=words):
        objections(replace(IMAGE, media_type=media_type or IMAGE.media_type, size=size), serverless=True)
    assert objections(IMAGE, serverless=True) == []
    assert "OCI" in objections(replace(IMAGE, media_type="application/vnd.oci.image.manifest.v1+json"))[0]


def refusal(code: str, message: str = "No.", operation: str = "CreateModel") -> exceptions.ClientError:
    return exceptions.ClientError({"Error": {"Code": code, "Message": message}}, operation)


@pytest.mark.parametrize(
    "error, words",
    [
        (exceptions.NoRegionError(), "give --region"),
        (exceptions.NoCredentialsError(), "no AWS credentials"),
        (exceptions.PartialCredentialsError(provider="env", cred_var="x"), "no AWS credentials"),
        (exceptions.ProfileNotFound(profile="x"), "profile (x) could not be found; `aws configure list-profiles`"),
        (exceptions.InvalidRegionError(region_name="mars_1"), "a region looks like us-east-1"),
        (
            exceptions.EndpointConnectionError(endpoint_url="https://api.sagemaker.us-east-9.amazonaws.com/"),
            "Nothing answers at https://api.sagemaker.us-east-9.amazonaws.com/; is the region right",
        ),
        (refusal("ExpiredToken"), "expired"),
        (refusal("UnrecognizedClientException"), "does not accept these credentials"),
        (
            refusal(
                "AccessDeniedException",
                "User: arn:aws:iam::1:user/x is not authorized to perform: sagemaker:CreateModel on resource: "
                "arn:aws:sagemaker:::model/m because no identity-based policy allows it",
            ),
            "These credentials may not do sagemaker:CreateModel on arn:aws:sagemaker:::model/m; `python -m scripts.deploy policy`",
        ),
        (refusal("AccessDenied"), "may not do CreateModel;"),
        (
            refusal("ResourceLimitExceeded", "The account-level service limit 'ml.g5.xlarge for endpoint usage' is 0 Instances."),
            "A quota of the account is used up: The account-level service limit 'ml.g5.xlarge for endpoint usage' is 0 Instances; ask",
        ),
        (refusal("ThrottlingException", "Rate exceeded"), "slower"),
        (refusal("BucketAlreadyExists"), "--bucket"),
        (refusal("ValidationException", "Already there\n here."), "CreateModel was refused: Already there here."),
        (AwsError("As it is."), "As it is."),
        (exceptions.HTTPClientError(error="x"), "AWS did not answer"),
    ],
)
def test_every_error_is_one_sentence(error, words):
    text = sentence(error)
    assert words in text and "\n" not in text and text.endswith((".", "?")), text
    assert errors.code(error) == (error.response["Error"]["Code"] if isinstance(error, exceptions.ClientError) else "")


@pytest.fixture
def stranger(monkeypatch, tmp_path):
    """Somebody without an AWS account, and without a region."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name in "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE":
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def test_a_stranger_may_see_what_would_be_done(stranger, capsys, tmp_path):
    for command, arguments in ((deploy, ["serverless"]), (deploy, ["realtime", "--max-instances", "2", "--alarms"]), (push_image, [])):
        assert command.main([*arguments, "--dry-run"]) == 0
        out, err = capsys.readouterr()
        shown = json.loads(out)
        assert len(shown["calls"]) >= 6 and "us-east-1" in err and "${account}" in out
    assert deploy.main(["policy", "--name", "mine"]) == 0
    out, err = capsys.readouterr()
    assert "arn:aws:sagemaker:${region}:${account}:endpoint/mine-*" in json.loads(out)["Statement"][6]["Resource"] and "Replace" in err


@pytest.mark.parametrize(
    "error, said",
    [
        (exceptions.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), "There are no AWS credentials here; "),
        (refusal("ExpiredToken"), "The AWS credentials have expired; "),
        (refusal("InvalidClientTokenId"), "AWS does not accept these credentials; "),
        (exceptions.SSOTokenLoadError(error_msg="x"), "The AWS credentials cannot be had: "),
        (exceptions.EndpointConnectionError(endpoint_url="https://sts"), "Nothing answers at "),
    ],
    ids=["partial", "expired", "unknown", "sso", "network"],
)
def test_a_dry_run_with_credentials_that_cannot_be_used_says_so(stranger, monkeypatch, capsys, error, said):
    def account(self):
        raise error

    monkeypatch.setattr(Session, "account", account)
    for command, arguments in ((deploy, ["serverless"]), (push_image, [])):
        assert command.main([*arguments, "--region", "eu-west-1", "--dry-run"]) == 0
        out, err = capsys.readouterr()
        assert "${account}" in out and len(json.loads(out)["calls"]) >= 6
        assert err.startswith(said) and err.endswith("What they would tell is shown as ${…}.\n") and err.count("\n") == 1
        assert command.main([*arguments, "--region", "eu-west-1"]) == 1
        assert capsys.readouterr().err.startswith(said)


def test_the_region_is_where_people_set_it(stranger, monkeypatch):
    assert Session().region is None
    for name, region in ("AWS_DEFAULT_REGION", "eu-west-1"), ("AWS_REGION", "eu-west-2"):
        monkeypatch.setenv(name, region)
        assert Session().region == region
    assert Session("eu-west-3").region == "eu-west-3"


@pytest.mark.parametrize(
    "command, arguments, words",
    [
        (deploy, ["serverless"], "No AWS region is set"),
        (delete, [], "No AWS region is set"),
        (push_image, [], "No AWS region is set"),
        (deploy, ["serverless", "--region", "eu-west-1"], "There are no AWS credentials"),
        (delete, ["--region", "eu-west-1"], "There are no AWS credentials"),
        (delete, ["--region", "eu-west-1", "--dry-run"], "which only AWS can tell. There are no AWS credentials here; "),
        (push_image, ["--region", "eu-west-1"], "There are no AWS credentials"),
        (deploy, ["serverless", "--profile", "nobody"], "profile (nobody) could not be found"),
        (deploy, ["serverless", "--name", "my_model", "--region", "eu-west-1", "--dry-run"], "letters, digits"),
        (deploy, ["serverless", "--memory", "1000"], "--memory must be"),
        (deploy, ["serverless", "--role", "mine"], "--role must be the ARN"),
        (deploy, ["serverless", "--bucket", "Mine"], "is not a bucket's name"),
        (deploy, ["batch", "--input", "nowhere.jsonl"], "is no file here"),
        (deploy, ["batch", "--input", "s3://a/b", "--save", "x"], "--save is for batch over a file"),
        (delete, ["serverless", "--everything", "--region", "eu-west-1"], "leave the mode out"),
    ],
)
@pytest.mark.slow
def test_what_is_wrong_is_said_in_a_sentence(stranger, capsys, command, arguments, words):
    assert command.main(arguments) == 1
    out, err = capsys.readouterr()
    assert words in err and not out and err.count("\n") == 1


def test_help_has_every_option(capsys):
    with pytest.raises(SystemExit):
        deploy.main(["--help"])
    text = capsys.readouterr().out
    assert all(option in text for option in ("--memory", "--max-provisioned", "--instance-type", "--alarms", "--input", "--dry-run"))
    with pytest.raises(SystemExit) as caught:
        delete.main(["elsewhere"])
    assert caught.value.code == 2


def test_the_guide_shows_options_that_there_are(capsys):
    def options_of(module) -> set[str]:
        with pytest.raises(SystemExit):
            module.main(["--help"])
        return set(re.findall(r"--[a-z-]+", capsys.readouterr().out))

    text = (ROOT / "scripts" / "aws" / "README.md").read_text(encoding="utf-8")
    lines = [line.partition("#")[0] for block in re.findall(r"```sh\n(.*?)```", text, re.S) for line in block.splitlines()]
    assert len(lines) >= 14 and len(text.splitlines()) <= 150
    known = {module.__name__: options_of(module) for module in (deploy, delete, push_image, invoke)}
    for name, options in known.items():
        used = [line for line in lines if line.startswith(f"python -m {name} ") or line.strip() == f"python -m {name}"]
        assert used and set(re.findall(r"--[a-z-]+", " ".join(used))) <= options, name
    assert set(re.findall(r"`(--[a-z-]+)", text)) <= set().union(*known.values())
