"""AWS for other processes: moto as a server, and the gateway in front of a real container or server. Needs moto, flask and flask-cors."""

import contextlib
import logging
import os
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import boto3
from moto.sagemaker.responses import SageMakerResponse
from moto.server import ThreadedMotoServer

from tests.gateway import REGION, Endpoint, Gateway, batch_transform


def environment(moto: str, gateway: Gateway) -> dict[str, str]:
    """That of a process for which AWS is moto, but for the calls of endpoints."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DOCKER"))}
    return {
        **kept,
        **gateway.environment,
        "AWS_ENDPOINT_URL": moto,
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONWARNINGS": "ignore",
        "OMP_NUM_THREADS": "1",
    }


@contextlib.contextmanager
def simulation(endpoints: dict[str, str], batch: str) -> Iterator[tuple[str, Gateway]]:
    """moto as a server, and the gateway. endpoints: name -> the server behind it. batch: the server that works batch jobs off."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it would name every call
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    moto = f"http://{host}:{port}"
    s3 = boto3.client("s3", endpoint_url=moto, region_name=REGION, aws_access_key_id="testing", aws_secret_access_key="testing")
    describe, worked = SageMakerResponse.describe_transform_job, set()

    def working(self):
        job = self.sagemaker_backend.transform_jobs[self._get_param("TransformJobName")]
        if job.transform_job_name not in worked:
            worked.add(job.transform_job_name)
            transform(job, s3, batch)
        return describe(self)

    behind = {name: Endpoint(url) for name, url in endpoints.items()}
    try:
        with Gateway(behind) as gateway, mock.patch.object(SageMakerResponse, "describe_transform_job", working):
            yield moto, gateway
    finally:
        urllib.request.urlopen(urllib.request.Request(f"{moto}/moto-api/reset", method="POST"), timeout=60).close()
        server.stop()


def transform(job, s3, url: str) -> None:
    """Work a batch job off, from S3 and to S3."""
    bucket, _, key = job.transform_input["DataSource"]["S3DataSource"]["S3Uri"].removeprefix("s3://").partition("/")
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / Path(key).name
        s3.download_file(bucket, key, str(source))
        output = batch_transform(
            url, source, Path(name), job.transform_input["ContentType"], job.transform_output["Accept"], BatchStrategy=job.batch_strategy
        )
        folder = job.transform_output["S3OutputPath"].removeprefix(f"s3://{bucket}/")
        s3.upload_file(str(output), bucket, f"{folder}/{output.name}")
