"""Push, deploy and delete against moto, a simulation of AWS: delete removes what deploy created."""

import json
import os
import stat
import time
from pathlib import Path

import boto3
import pytest

from handler import __version__
from scripts import delete, deploy, push_image
from scripts.aws import plan, policies, push
from scripts.aws.names import Names
from scripts.aws.session import Session

moto = pytest.importorskip("moto", reason="moto stands in for AWS: pip install -r tests/requirements.txt")
from moto.core.responses import ActionResult  # noqa: E402
from moto.sagemaker.exceptions import ValidationError  # noqa: E402
from moto.sagemaker.models import SageMakerModelBackend, sagemaker_backends  # noqa: E402
from moto.sagemaker.responses import SageMakerResponse  # noqa: E402

REGION, ACCOUNT = "eu-west-1", "123456789012"
BUCKET = f"sagemaker-{REGION}-{ACCOUNT}"
MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {"digest": "sha256:" + "a" * 64, "size": 1},
        "layers": [],
    }
)
# moto does not know the provisioned concurrency of serverless endpoints as something that scales.
ASKED = {
    "serverless": ["--alarms", "--memory", "4096", "--provisioned", "1"],
    "realtime": ["--instance-type", "ml.g4dn.xlarge", "--max-instances", "3", "--alarms", "--tag", "team=x"],
    "async": ["--max-instances", "2", "--alarms"],
    "batch": [],
}


BOTO = boto3.Session(region_name=REGION)
clients: dict = {}  # making one takes longer than a call to moto: they serve all tests


def client(service: str):
    if service not in clients:
        clients[service] = BOTO.client(service)
    return clients[service]


@pytest.fixture
def aws(monkeypatch):
    """An empty account."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setattr(plan, "PAUSE", 0.01)
    monkeypatch.setattr(Session, "client", lambda self, service, **settings: client(service))
    monkeypatch.setattr(Session, "partition", lambda self: "aws")
    with moto.mock_aws():
        yield client


@pytest.fixture
def account(aws):
    """One with the two images."""
    names = Names("synpg", "serverless", REGION, ACCOUNT)
    steps = push.plan(names, "here", f"{names.registry}/synpg-torchserve", "synpg-torchserve", "1", exists=False)
    plan.apply([step for step in steps if isinstance(step, plan.Call)], Session(REGION), lambda *a, **k: None)
    for kind in "cpu", "gpu":
        aws("ecr").put_image(repositoryName="synpg-torchserve", imageTag=f"{__version__}-{kind}", imageManifest=MANIFEST + " " * len(kind))
    return aws


@pytest.fixture
def model(tmp_path) -> Path:
    file = tmp_path / "synpg.tar.gz"
    file.write_bytes(b"weights")
    return file


@pytest.fixture
def run(capsys, model, tmp_path):
    """Runs a command: status, what it printed as JSON, what it said."""
    lines = tmp_path / "requests.jsonl"
    lines.write_text('{"sent": "it rains"}\n')

    def command(which, *arguments):
        if which is deploy:
            arguments = (*arguments, "--model", str(model), *(("--input", str(lines)) if arguments[0] == "batch" else ()))
        status = which.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return status, json.loads(out) if out else None, err

    return command


def inventory(aws) -> dict:
    """All there is in the account of the kinds that deploy makes."""
    sagemaker, s3 = aws("sagemaker"), aws("s3")
    scaling = aws("application-autoscaling")
    buckets = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    return {
        "endpoints": [each["EndpointName"] for each in sagemaker.list_endpoints()["Endpoints"]],
        "configs": [each["EndpointConfigName"] for each in sagemaker.list_endpoint_configs()["EndpointConfigs"]],
        "models": [each["ModelName"] for each in sagemaker.list_models()["Models"]],
        "roles": [each["RoleName"] for each in aws("iam").list_roles()["Roles"]],
        "alarms": [each["AlarmName"] for each in aws("cloudwatch").describe_alarms()["MetricAlarms"]],
        "targets": [each["ResourceId"] for each in scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]],
        "policies": [each["PolicyName"] for each in scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]],
        "buckets": buckets,
        "objects": [item["Key"] for bucket in buckets for item in s3.list_objects_v2(Bucket=bucket).get("Contents", [])],
        "repositories": [each["repositoryName"] for each in aws("ecr").describe_repositories()["repositories"]],
    }


@pytest.mark.parametrize("mode", ASKED)
@pytest.mark.slow
def test_what_deploy_makes_delete_removes(account, run, mode):
    before = inventory(account)
    status, made, err = run(deploy, mode, *ASKED[mode])
    assert status == 0, err
    there = inventory(account)
    assert there["models"] == [made["model"]] and there["roles"] == [f"synpg-{mode}-{REGION}"]
    assert "@sha256:" in made["image"] and there["buckets"] == [BUCKET]
    if mode != "batch":
        assert there["endpoints"] == [made["endpoint"]] == [f"synpg-{mode}"] and there["configs"] == [made["endpoint_config"]]
        arn = account("sagemaker").describe_endpoint(EndpointName=made["endpoint"])["EndpointArn"]
        assert {"Key": "deployment", "Value": f"synpg-{mode}"} in account("sagemaker").list_tags(ResourceArn=arn)["Tags"]
        assert len(there["alarms"]) >= 2
    assert bool(there["targets"]) == bool(there["policies"]) == (mode in ("realtime", "async"))

    status, shown, err = run(delete, mode, "--dry-run")
    assert status == 0 and shown["calls"] and inventory(account) == there
    status, gone, err = run(delete, mode)
    assert status == 0 and gone["deleted"] == shown["result"]["deleted"], err
    after = inventory(account)
    kept = [key for key in after["objects"] if "/input/" in key]
    assert after == {**before, "buckets": [BUCKET], "objects": kept} and bool(kept) == (mode == "batch")
    assert {"ECR repository synpg-torchserve", f"bucket {BUCKET}"} <= {line["what"] for line in gone["kept"]}

    status, again, _ = run(delete, mode)
    assert status == 0 and again["deleted"] == []


@pytest.mark.slow
def test_everything_goes_with_everything(account, run):
    for mode in ASKED:
        assert run(deploy, mode, *ASKED[mode])[0] == 0
    account("logs").create_log_group(logGroupName="/aws/sagemaker/Endpoints/synpg-realtime")
    account("logs").create_log_group(logGroupName="/aws/sagemaker/Endpoints/synpg-realtime-of-others")
    status, gone, err = run(delete, "--everything")
    assert status == 0 and gone["kept"] == [], err
    assert not any(inventory(account).values())
    assert [group["logGroupName"] for group in account("logs").describe_log_groups()["logGroups"]] == [
        "/aws/sagemaker/Endpoints/synpg-realtime-of-others"
    ]
    assert run(delete, "--everything")[:2] == (0, {"region": REGION, "account": ACCOUNT, "deleted": [], "kept": []})


def test_what_others_made_stays(account, run):
    sagemaker = account("sagemaker")
    others = [{"Key": "deployment", "Value": "theirs"}]
    sagemaker.create_model(ModelName="synpg-serverless-0a0a0a0a", PrimaryContainer={"Image": "x"}, ExecutionRoleArn="r" * 20, Tags=others)
    sagemaker.create_model(ModelName="synpg-serverless", PrimaryContainer={"Image": "x"}, ExecutionRoleArn="r" * 20)
    assert run(deploy, "serverless")[0] == 0
    account("s3").put_object(Bucket=BUCKET, Key="theirs", Body=b"x")
    status, gone, _ = run(delete, "--everything")
    assert status == 0 and {"what": f"bucket {BUCKET}", "why": "it holds other things too"} in gone["kept"]
    assert inventory(account)["models"] == ["synpg-serverless-0a0a0a0a", "synpg-serverless"]
    sagemaker.create_endpoint_config(
        EndpointConfigName="c",
        ProductionVariants=[
            {"VariantName": "v", "ModelName": "synpg-serverless", "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1}}
        ],
    )
    sagemaker.create_endpoint(EndpointName="synpg-serverless", EndpointConfigName="c")
    assert "is an endpoint synpg-serverless that these commands did not make" in run(deploy, "serverless")[2]
    status, gone, _ = run(delete)
    assert status == 0 and "There is an endpoint synpg-serverless" in gone["kept"][0]["what"]
    assert inventory(account)["endpoints"] == ["synpg-serverless"]


def test_twice_is_once(account, run):
    first = run(deploy, "serverless")
    before = inventory(account)
    second = run(deploy, "serverless")
    assert second[0] == 0 and inventory(account) == before and "uploading" not in second[2] and "uploading" in first[2]
    assert {**first[1], "seconds": 0} == {**second[1], "seconds": 0}


def test_another_model_is_uploaded_and_the_old_one_replaced(account, run, model, monkeypatch):
    def update_endpoint(self):
        endpoint = self.sagemaker_backend.endpoints[self._get_param("EndpointName")]
        endpoint.endpoint_config_name = self._get_param("EndpointConfigName")
        return ActionResult({"EndpointArn": endpoint.arn})

    monkeypatch.setattr(SageMakerResponse, "update_endpoint", update_endpoint, raising=False)  # moto has none
    _, first, _ = run(deploy, "realtime", *ASKED["realtime"])
    model.write_bytes(b"better weights")
    status, second, err = run(deploy, "realtime", *ASKED["realtime"])
    assert status == 0 and "updating synpg-realtime" in err and second["model"] != first["model"]
    there = inventory(account)
    assert there["models"] == [second["model"]] and there["configs"] == [second["endpoint_config"]]
    assert there["policies"] == ["synpg-realtime-invocations"]
    assert run(delete)[0] == 0 and not inventory(account)["objects"]


def test_a_rolled_back_update_is_a_failure(account, run, monkeypatch):
    def update_endpoint(self):
        endpoint = self.sagemaker_backend.endpoints[self._get_param("EndpointName")]
        endpoint.failure_reason = "The container did not pass the ping health check."
        return ActionResult({"EndpointArn": endpoint.arn})

    monkeypatch.setattr(SageMakerResponse, "update_endpoint", update_endpoint, raising=False)
    _, first, _ = run(deploy, "serverless")
    status, out, err = run(deploy, "serverless", "--memory", 6144)
    assert status == 1 and out is None and "was rolled back: The container did not pass the ping health check." in err
    assert inventory(account)["endpoints"] and first["endpoint_config"] in inventory(account)["configs"]


def test_a_failure_shows_the_reason_and_the_containers_last_lines(account, run, monkeypatch):
    logs, group = account("logs"), "/aws/sagemaker/Endpoints/synpg-serverless"
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="main/1")
    logs.put_log_events(
        logGroupName=group,
        logStreamName="main/1",
        logEvents=[{"timestamp": int(time.time() * 1000) + i, "message": f"line {i}"} for i in range(30)],
    )
    create = SageMakerModelBackend.create_endpoint

    def failing(self, **arguments):
        endpoint = create(self, **arguments)
        endpoint.endpoint_status, endpoint.failure_reason = "Failed", "The role lost its way."
        return endpoint

    with monkeypatch.context() as patch:
        patch.setattr(SageMakerModelBackend, "create_endpoint", failing)
        status, out, err = run(deploy, "serverless")
    assert status == 1 and out is None
    assert "Failed: The role lost its way." in err and err.endswith("  line 28\n  line 29\n") and "line 9\n" not in err
    status, made, err = run(deploy, "serverless")
    assert status == 0 and "deleting synpg-serverless, which is Failed" in err
    assert run(delete)[0] == 0 and not inventory(account)["endpoints"]


def test_a_young_role_is_waited_for(account, run, monkeypatch):
    refusals = [f"Could not assume role arn:aws:iam::{ACCOUNT}:role/x. Please ensure that the role exists."] * 2
    create = SageMakerResponse.create_model

    def create_model(self):
        if refusals:
            raise ValidationError(message=refusals.pop())
        return create(self)

    monkeypatch.setattr(SageMakerResponse, "create_model", create_model)
    assert run(deploy, "serverless")[0] == 0 and not refusals
    refusals.append("Could not assume role")
    status, _, err = run(deploy, "realtime", "--role", f"arn:aws:iam::{ACCOUNT}:role/mine")
    assert status == 1 and "Could not assume role" in err  # a role of the caller's is not young


@pytest.mark.parametrize(
    "mode, arguments, words",
    [
        ("serverless", ["--image", "synpg-torchserve:none"], "The image synpg-torchserve:none is not in ECR in eu-west-1"),
        ("serverless", ["--image", "none:1"], "is not in ECR"),
        ("serverless", ["--image", "2.dkr.ecr.us-east-1.amazonaws.com/synpg-torchserve:1"], "registry of this account and region"),
        ("serverless", ["--image", "a b"], "is not REPOSITORY:TAG"),
        ("serverless", ["--model", "nowhere.tar.gz"], "There is no nowhere.tar.gz"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_made(account, capsys, model, mode, arguments, words):
    before = inventory(account)
    given = arguments if "--model" in arguments else [*arguments, "--model", str(model)]
    assert deploy.main([mode, *given]) == 1
    out, err = capsys.readouterr()
    assert words in err and not out and inventory(account) == before


def test_batch_answers_come_back(account, run, tmp_path, monkeypatch):
    describe = SageMakerResponse.describe_transform_job

    def working(self):  # moto completes a job without working it off
        job = self.sagemaker_backend.transform_jobs[self._get_param("TransformJobName")]
        key = job.transform_output["S3OutputPath"].partition(f"{BUCKET}/")[2] + "/requests.jsonl.out"
        boto3.client("s3").put_object(Bucket=BUCKET, Key=key, Body=b'"it rains"\n')
        return describe(self)

    monkeypatch.setattr(SageMakerResponse, "describe_transform_job", working)
    status, made, err = run(deploy, "batch", "--save", tmp_path / "answers.jsonl")
    assert status == 0 and (tmp_path / "answers.jsonl").read_text() == '"it rains"\n', err
    assert made["output"].startswith(f"s3://{BUCKET}/synpg-batch/output/synpg-batch-")


def test_a_running_job_is_stopped(account, run, monkeypatch):
    def stop_transform_job(self):
        self.sagemaker_backend.transform_jobs[self._get_param("TransformJobName")].transform_job_status = "Stopped"
        return ActionResult({})

    monkeypatch.setattr(SageMakerResponse, "stop_transform_job", stop_transform_job, raising=False)  # moto has none
    _, made, _ = run(deploy, "batch")
    sagemaker_backends[ACCOUNT][REGION].transform_jobs[made["job"]].transform_job_status = "InProgress"
    status, gone, err = run(delete, "batch")
    assert status == 0 and f"job {made['job']}" in gone["deleted"] and f"job {made['job']}: Stopped" in err


@pytest.mark.slow
def test_the_printed_policy_allows_every_call_that_is_made(account, run, monkeypatch):
    """Also those that only look. Each is recorded on its way to moto."""
    made: set = set()
    services = {
        "SageMaker": "sagemaker",
        "S3": "s3",
        "IAM": "iam",
        "CloudWatch": "cloudwatch",
        "CloudWatch Logs": "logs",
        "ECR": "ecr",
        "STS": "sts",
        "Application Auto Scaling": "application-autoscaling",
    }
    renamed = {
        "s3:HeadBucket": "s3:ListBucket",
        "s3:ListObjectsV2": "s3:ListBucket",
        "s3:HeadObject": "s3:GetObject",
        "s3:DeleteObjects": "s3:DeleteObject",
        "s3:PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    }

    def recording(self, service, **settings):
        client(service).meta.events.register(
            "before-call", lambda model, **_: made.add(f"{services[model.service_model.service_id]}:{model.name}"), unique_id="recorder"
        )
        return client(service)

    monkeypatch.setattr(Session, "client", recording)
    for mode in ASKED:
        assert run(deploy, mode, *ASKED[mode])[0] == 0
    account("logs").create_log_group(logGroupName="/aws/sagemaker/Endpoints/synpg-realtime")
    assert run(delete, "--everything")[0] == 0
    for each in clients.values():
        each.meta.events.unregister("before-call", unique_id="recorder")
    allowed = {action for statement in policies.deployer()["Statement"] for action in statement["Action"]}
    assert len(made) > 40 and {renamed.get(action, action) for action in made} <= allowed
    assert len(json.dumps(policies.deployer("a" * 30, "ap-southeast-1", ACCOUNT), separators=(",", ":"))) < 6144  # a managed policy's limit


def fake_docker(folder: Path, digest: str = "sha256:" + "d" * 64) -> Path:
    """A docker that writes down how it was called."""
    file = folder / "docker"
    file.write_text(f"""#!/bin/sh
echo "$@" >> {folder}/calls
case "$1 $2" in
"login --username") cat > {folder}/password ;;
"image inspect") case "$4" in *Arch*) if [ "$5" = none ]; then echo "Error: No such image: none" >&2; exit 1; fi; echo "${{ARCH:-amd64}}" ;;
                 *) echo "[\\"${{5%:*}}@{digest}\\"]" ;; esac ;;
"push "*) if [ -n "$BROKEN" ]; then echo "denied: no" >&2; exit 1; fi ;;
esac
""")
    file.chmod(file.stat().st_mode | stat.S_IEXEC)
    return file


def test_push(aws, run, monkeypatch, tmp_path):
    monkeypatch.setattr(push, "DOCKER", str(fake_docker(tmp_path)))
    status, made, err = run(push_image)
    registry = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
    image = f"{registry}/synpg-torchserve:{__version__}-cpu"
    assert (status, made) == (0, {"image": image, "digest": "sha256:" + "d" * 64}), err
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[1:4] == [
        f"login --username AWS --password-stdin {registry}",
        f"tag synpg-torchserve:{__version__}-cpu {image}",
        f"push {image}",
    ]
    password = (tmp_path / "password").read_text()
    assert password == f"{ACCOUNT}-auth-token" and password not in "".join(calls)
    [repository] = aws("ecr").describe_repositories()["repositories"]
    assert repository["imageScanningConfiguration"] == {"scanOnPush": True}
    rules = json.loads(aws("ecr").get_lifecycle_policy(repositoryName="synpg-torchserve")["lifecyclePolicyText"])
    assert rules == policies.lifecycle()
    aws("ecr").put_lifecycle_policy(repositoryName="synpg-torchserve", lifecyclePolicyText=json.dumps(policies.lifecycle(3, 1)))
    assert run(push_image, "--gpu")[1]["image"].endswith("-gpu")
    assert aws("ecr").get_lifecycle_policy(repositoryName="synpg-torchserve")["lifecyclePolicyText"] != json.dumps(policies.lifecycle())


def test_a_push_that_cannot_be(aws, run, monkeypatch, tmp_path):
    monkeypatch.setattr(push, "DOCKER", str(fake_docker(tmp_path)))
    assert "There is no image none here; `python -m scripts.build_image` builds it.\n" == run(push_image, "--image", "none")[2]
    monkeypatch.setenv("ARCH", "arm64")
    assert "is built for arm64" in run(push_image)[2]
    monkeypatch.delenv("ARCH")
    monkeypatch.setenv("BROKEN", "1")
    status, out, err = run(push_image)
    assert status == 1 and out is None and err.endswith("docker push` failed: denied: no.\n")
    monkeypatch.setattr(push, "DOCKER", str(tmp_path / "none"))
    assert "install Docker" in run(push_image)[2]


def test_what_ecr_says_of_a_pushed_image_is_believed(account, run, monkeypatch, tmp_path):
    monkeypatch.setattr(push, "DOCKER", str(fake_docker(tmp_path)))
    status, made, _ = run(push_image)
    [known] = account("ecr").describe_images(repositoryName="synpg-torchserve", imageIds=[{"imageTag": f"{__version__}-cpu"}])[
        "imageDetails"
    ]
    assert status == 0 and made["digest"] == known["imageDigest"] != "sha256:" + "d" * 64
