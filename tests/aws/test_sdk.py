"""Deploying and calling with the SageMaker Python SDK 2, as its users do, without AWS.

moto simulates S3, IAM and SageMaker. The predictor's requests go through the gateway to a real server. It runs in an environment of
its own that has `scripts/aws/sdk-requirements.txt` and `tests/requirements.txt`, the SDK's versions where they differ.
"""

import json
import tarfile
import time
from types import SimpleNamespace

import pytest

pytest.importorskip("sagemaker", reason="needs the SDK of scripts/aws/sdk-requirements.txt")
try:
    from sagemaker.base_deserializers import JSONDeserializer
    from sagemaker.base_serializers import JSONSerializer
    from sagemaker.pytorch import PyTorchModel
except ImportError:
    pytest.skip("needs the SDK of scripts/aws/sdk-requirements.txt", allow_module_level=True)

import boto3
import sagemaker
from botocore.exceptions import ClientError
from moto import mock_aws
from sagemaker.serverless import ServerlessInferenceConfig

from scripts.common.paths import DEMO
from scripts.serving import archive
from scripts.serving.server import call
from tests.factories import PICNIC, body
from tests.gateway import ACCOUNT, REALTIME_BYTES, REGION, SERVERLESS_BYTES, Endpoint, Gateway

pytestmark = pytest.mark.filterwarnings("ignore")  # the SDK's own
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/synpg:latest"
BUCKET = "synpg-models"
SST2 = [  # the first rows that the notebook paraphrases
    (
        "hide new secretions from the parental units ",
        "(ROOT (VP (VB hide) (NP (JJ new) (NNS secretions)) (PP (IN from) (NP (DT the) (JJ parental) (NNS units)))))",
    ),
    (
        "contains no wit , only labored gags ",
        "(ROOT (VP (VBZ contains) (NP (NP (DT no) (NN wit)) (, ,) (NP (RB only) (VBN labored) (NNS gags)))))",
    ),
]


@pytest.fixture()
def aws(server, tmp_path, monkeypatch):
    """An account with a role and a bucket, the tarball in it; a session of the SDK; the gateway."""
    for name, value in {"AWS_DEFAULT_REGION": REGION, "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}.items():
        monkeypatch.setenv(name, value)
    config = tmp_path / "config.yaml"  # the SDK would report its use over the network
    config.write_text("SchemaVersion: '1.0'\nSageMaker:\n  PythonSDK:\n    Modules:\n      TelemetryOptOut: true\n")
    monkeypatch.setenv("SAGEMAKER_USER_CONFIG_OVERRIDE", str(config))
    (tmp_path / "notebook").mkdir()
    (tmp_path / "notebook" / "inference.py").write_bytes(archive.FOR_AWS.read_bytes())  # beside the notebook, as it has it
    monkeypatch.chdir(tmp_path / "notebook")
    monkeypatch.setattr("sagemaker.session.time", SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None}))  # 30 s a look
    archive.build_tarball(DEMO, tmp_path / "synpg.tar.gz")
    with mock_aws(), Gateway({}) as gateway:
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        boto3.client("s3").upload_file(str(tmp_path / "synpg.tar.gz"), BUCKET, "synpg.tar.gz")
        boto3.client("iam").create_role(RoleName="SCPNS3SageMakerRole", AssumeRolePolicyDocument="{}")
        session = sagemaker.Session(default_bucket=BUCKET, sagemaker_runtime_client=gateway.client())
        yield session, gateway


def model_data(session, name: str) -> str:
    """Where the container of an endpoint gets its tarball from."""
    client = session.sagemaker_client
    config = client.describe_endpoint_config(EndpointConfigName=client.describe_endpoint(EndpointName=name)["EndpointConfigName"])
    container = client.describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])["PrimaryContainer"]
    return container["ModelDataUrl"]


GPU = {"instance_type": "ml.g4dn.xlarge", "initial_instance_count": 1}
SERVERLESS = {"serverless_inference_config": ServerlessInferenceConfig(memory_size_in_mb=3072, max_concurrency=2)}


@pytest.mark.parametrize(
    "model, deployment, limit",
    [
        ({"image_uri": IMAGE, "entry_point": "inference.py"}, GPU, REALTIME_BYTES),  # to the letter
        ({"image_uri": IMAGE}, SERVERLESS, SERVERLESS_BYTES),
        ({"framework_version": "2.6", "py_version": "py312", "entry_point": "inference.py"}, GPU, REALTIME_BYTES),
    ],
    ids=["as written", "serverless", "stock image"],
)
def test_deploy_predict_delete(aws, server, tmp_path, model, deployment, limit):
    session, gateway = aws

    synpg_model = PyTorchModel(model_data=f"s3://{BUCKET}/synpg.tar.gz", role="SCPNS3SageMakerRole", sagemaker_session=session, **model)
    synpg_predictor = synpg_model.deploy(
        serializer=JSONSerializer(),
        deserializer=JSONDeserializer(),
        accept="application/json",
        content_type="application/json",
        **deployment,
    )
    name = synpg_predictor.endpoint_name
    gateway.endpoints[name] = Endpoint(server.url, limit)  # SageMaker starts a container

    greedy = {**PICNIC, "temperature": 0}
    response = synpg_predictor.predict(greedy, initial_args={"ContentType": "application/json"})
    assert response == json.loads(call(f"{server.url}/invocations", body(greedy))[1])
    for sentence, tree in SST2:
        payload = {"sent": sentence, "synt": tree, "tmpl": PICNIC["tmpl"]}
        assert isinstance(synpg_predictor.predict(payload, initial_args={"ContentType": "application/json"}), str)
    with pytest.raises(ClientError, match=r"client error \(400\)"):
        synpg_predictor.predict({"sent": ""})

    data = model_data(session, name)  # with an entry point the SDK packs the tarball anew: nothing may be lost
    boto3.client("s3").download_file(*data.removeprefix("s3://").split("/", 1), str(tmp_path / "theirs.tar.gz"))
    with tarfile.open(tmp_path / "theirs.tar.gz") as theirs, tarfile.open(tmp_path / "synpg.tar.gz") as ours:
        for entry in ours:
            inside = theirs.extractfile(next(e for e in theirs if e.name.removeprefix("./") == entry.name))
            assert archive.same(inside, ours.extractfile(entry)), entry.name

    synpg_predictor.delete_endpoint()
    assert not boto3.client("sagemaker").list_endpoints()["Endpoints"]
