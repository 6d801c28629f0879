"""Simulates what is between a caller and a container on SageMaker: the runtime's HTTP interface, and batch transform.

    with Gateway({"synpg": Endpoint("http://127.0.0.1:8080")}) as gateway:
        gateway.client().invoke_endpoint(EndpointName="synpg", ContentType="application/json", Body=b"{}")

boto3 signs and sends the request. The container gets the body and only the headers that SageMaker passes on. An answer outside 2xx
comes back as a ModelError. `Container` serves a function in place of a real container. `batch_transform` processes a file as a
transform job does.
"""

import http.client
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import boto3
from botocore.config import Config

MB = 1 << 20
REALTIME_BYTES, SERVERLESS_BYTES = 25 * MB, 4 * MB  # of a request, and of an answer
TIMEOUT = 60.0  # s, from the request to the whole answer
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
FORWARDED = {
    name.lower()
    for name in (
        "Content-Type",
        "Accept",
        ATTRIBUTES,
        *(
            f"X-Amzn-SageMaker-{name}"
            for name in (
                "Target-Model",
                "Target-Variant",
                "Target-Container-Hostname",
                "Inference-Id",
                "Enable-Explanations",
                "Inference-Component",
                "Session-Id",
                "Prefix-Aware-Id",
            )
        ),
    )
}
RETURNED = "Content-Type", ATTRIBUTES, "X-Amzn-SageMaker-New-Session-Id", "X-Amzn-SageMaker-Closed-Session-Id"
REGION, ACCOUNT, VARIANT = "us-east-1", "123456789012", "AllTraffic"
TIMED_OUT = (
    "Your invocation timed out while waiting for a response from container primary. Review the latency metrics for "
    "each container in Amazon CloudWatch, resolve the issue, and try again."
)
GONE = "An error occurred while handling request as the model process exited."


@dataclass(frozen=True)
class Endpoint:
    """Where an endpoint's container listens, and what its kind of endpoint lets through."""

    url: str
    max_bytes: int = REALTIME_BYTES
    timeout: float = TIMEOUT


class Server:
    """An HTTP server on a free port of the loopback interface, a thread a connection, gone with the `with`."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]):
        self._server = _Threading(("127.0.0.1", 0), handler)
        self._server.owner = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self):
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Threading(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True
    block_on_close = False  # a handler that waits for a hung container is not waited for

    def handle_error(self, request, client_address):
        pass  # the caller went away


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class Gateway(Server):
    """`sagemaker-runtime` for endpoints whose containers run elsewhere. `endpoints` may be changed while it runs.

    `refusals` are answered first, one a call, without asking a container: (status, error type, message), to see what a
    client makes of throttling or of an endpoint that is not ready. `calls` counts the signed calls.
    """

    def __init__(self, endpoints: dict[str, Endpoint]):
        super().__init__(_Runtime)
        self.endpoints, self.refusals, self.calls, self.lock = dict(endpoints), [], 0, threading.Lock()

    def next_refusal(self) -> tuple[int, str, str] | None:
        with self.lock:
            self.calls += 1
            return self.refusals.pop(0) if self.refusals else None

    def client(self, **config):
        """A boto3 client that believes this to be AWS; `config` is botocore's, retries off unless it says otherwise."""
        config = {"retries": {"total_max_attempts": 1}, "read_timeout": 70, **config}
        return boto3.client(
            "sagemaker-runtime",
            endpoint_url=self.url,
            config=Config(**config),
            region_name=REGION,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )

    @property
    def environment(self) -> dict[str, str]:
        """What makes any boto3 `sagemaker-runtime` client of a process come here."""
        return {
            "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": self.url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
        }


class _Runtime(_Handler):
    def do_POST(self):
        body, gateway = self.body(), self.server.owner
        parts = urlsplit(self.path).path.strip("/").split("/")
        name = unquote(parts[1]) if len(parts) == 3 else ""
        if len(parts) != 3 or parts[0] != "endpoints" or parts[2] != "invocations":
            return self.refuse(404, "UnknownOperationException", "Unknown operation.")
        if not self.headers.get("Authorization", "").startswith("AWS4-HMAC-SHA256 Credential="):
            return self.refuse(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
        if refusal := gateway.next_refusal():
            return self.refuse(*refusal)
        endpoint = gateway.endpoints.get(name)
        if endpoint is None:
            return self.refuse(400, "ValidationError", f"Endpoint {name} of account {ACCOUNT} not found.")
        attributes = self.headers.get(ATTRIBUTES, "")
        if len(attributes) > 1024 or not attributes.isascii():
            return self.refuse(400, "ValidationError", "1 validation error detected: customAttributes is too long or not ASCII.")
        if len(body) > endpoint.max_bytes:  # botocore makes `413` of it: this answer has no error type
            return self.reply(413, {}, b'{"message":"HTTP content length exceeded %d bytes."}' % endpoint.max_bytes)
        self.pass_on(name, endpoint, body)

    def pass_on(self, name: str, endpoint: Endpoint, body: bytes) -> None:
        headers = {key: value for key, value in self.headers.items() if key.lower() in FORWARDED}
        try:
            status, given, answer = post(endpoint.url + "/invocations", headers, body, endpoint.timeout)
        except TimeoutError:
            return self.model_error(name, 0, TIMED_OUT)
        except (OSError, http.client.HTTPException):
            return self.model_error(name, 0, GONE)
        if not 200 <= status < 300:
            return self.model_error(name, status, answer.decode("utf-8", "replace"))
        if len(answer) > endpoint.max_bytes:
            return self.model_error(name, 0, f"The response has more than {endpoint.max_bytes} bytes.")
        returned = {key: given[key] for key in RETURNED if key in given}
        self.reply(200, {**returned, "x-Amzn-Invoked-Production-Variant": VARIANT}, answer)

    def model_error(self, name: str, status: int, message: str) -> None:
        """What the container said instead of an answer; 0: it said nothing."""
        group = f"/aws/sagemaker/Endpoints/{name}"
        kind = "client" if 400 <= status < 500 else "server"
        self.refuse(
            424,
            "ModelError",
            f'Received {kind} error ({status}) from primary with message "{message}". See '
            f"https://{REGION}.console.aws.amazon.com/cloudwatch/home?region={REGION}#logEventViewer:group={group} "
            f"in account {ACCOUNT} for more information.",
            ErrorCode=f"{kind.upper()}_ERROR_FROM_MODEL",
            OriginalStatusCode=status,
            OriginalMessage=message,
            LogStreamArn=f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}",
        )

    def refuse(self, status: int, kind: str, message: str, **more) -> None:
        self.reply(
            status, {"Content-Type": "application/json", "x-amzn-ErrorType": kind}, json.dumps({**more, "Message": message}).encode()
        )


class Container(Server):
    """A container made of a function: (path, headers by lower-case name, body) -> (status, headers, body).

    What it was asked is in `seen`, (path, headers, body) each. /ping is answered 200, and by nothing else than this.
    """

    def __init__(self, answer):
        super().__init__(_Container)
        self.answer, self.seen = answer, []


class _Container(_Handler):
    def do_GET(self):
        if self.path == "/ping":
            return self.reply(200, {}, b"")
        self.do_POST()

    def do_POST(self):
        container = self.server.owner
        asked = self.path, {name.lower(): value for name, value in self.headers.items()}, self.body()
        container.seen.append(asked)
        self.reply(*container.answer(*asked))


def post(url: str, headers: dict[str, str], body: bytes | None, timeout: float) -> tuple[int, http.client.HTTPMessage, bytes]:
    """POST, or GET without a body, with exactly these headers; `timeout` bounds the whole exchange."""
    place, deadline = urlsplit(url), time.monotonic() + timeout
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=timeout)
    try:
        connection.request("GET" if body is None else "POST", place.path, body, headers)
        answer = connection.getresponse()
        chunks = []
        while chunk := answer.read1(1 << 16):
            chunks.append(chunk)
            if (left := deadline - time.monotonic()) <= 0:
                raise TimeoutError
            if connection.sock:
                connection.sock.settimeout(left)
        return answer.status, answer.headers, b"".join(chunks)
    finally:
        connection.close()


class TransformError(Exception):
    """The transform job has failed; nothing was written."""


def execution_parameters(url: str, **given) -> dict:
    """How a job runs: what it was created with, before what the container says of itself, before SageMaker's defaults."""
    told = {}
    status, _, body = post(url + "/execution-parameters", {}, None, 2)
    if status == 200:
        told = json.loads(body)
        if not told.keys() <= {"MaxConcurrentTransforms", "BatchStrategy", "MaxPayloadInMB"}:
            raise TransformError(f"/execution-parameters answered {sorted(told)}")
    merged = {"MaxConcurrentTransforms": 1, "BatchStrategy": "MultiRecord", "MaxPayloadInMB": 6, **told, **given}
    # The API writes MultiRecord, a container MULTI_RECORD.
    merged["BatchStrategy"] = {"MULTI_RECORD": "MultiRecord", "SINGLE_RECORD": "SingleRecord"}.get(
        merged["BatchStrategy"], merged["BatchStrategy"]
    )
    return merged


def batch_environment(**given) -> dict[str, str]:
    """What a container is started with for a transform job that was created with these parameters."""
    names = {
        "MaxConcurrentTransforms": "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS",
        "BatchStrategy": "SAGEMAKER_BATCH_STRATEGY",
        "MaxPayloadInMB": "SAGEMAKER_MAX_PAYLOAD_IN_MB",
    }
    strategies = {"MultiRecord": "MULTI_RECORD", "SingleRecord": "SINGLE_RECORD"}
    return {"SAGEMAKER_BATCH": "true", **{names[key]: strategies.get(value, str(value)) for key, value in given.items()}}


def batch_transform(
    url: str,
    source: Path,
    folder: Path,
    content_type: str,
    accept: str | None = None,
    split: str | None = "Line",
    assemble: str | None = "Line",
    timeout: float = 600,
    retries: int = 3,
    **given,
) -> Path:
    """Work `source` off as a transform job would, into `folder`/NAME.out; `given` is the job's own BatchStrategy and so on.

    A record keeps its newline, as in SageMaker's local mode. One request that stays refused fails the job, and there is no
    file; the local mode would write the error's body into it.
    """
    if post(url + "/ping", {}, None, 2)[0] != 200:
        raise TransformError("/ping does not answer 200")
    parameters = execution_parameters(url, **given)
    most = int(parameters["MaxPayloadInMB"] * MB)
    headers = {"Content-Type": content_type, **({"Accept": accept} if accept else {})}

    def call(body: bytes) -> bytes:
        for attempt in range(retries + 1):
            status, _, answer = post(url + "/invocations", headers, body, timeout)
            if status == 200:
                return answer
            if status < 500 or attempt == retries:
                raise TransformError(f"HTTP {status}: {answer.decode('utf-8', 'replace')}")

    records = source.read_bytes().splitlines(keepends=True) if split == "Line" else [source.read_bytes()]
    bodies = payloads(records, most, together=parameters["BatchStrategy"] == "MultiRecord")
    with ThreadPoolExecutor(parameters["MaxConcurrentTransforms"]) as pool:
        answers = list(pool.map(call, bodies))
    output = folder / f"{source.name}.out"
    output.write_bytes(b"".join(answer + (b"\n" if assemble == "Line" else b"") for answer in answers))
    return output


def payloads(records: list[bytes], most: int, together: bool) -> list[bytes]:
    """The bodies of the requests: a record each, or as many as fit."""
    bodies = []
    for record in records:
        if len(record) > most:
            raise TransformError(f"a record has {len(record)} bytes, more than {most}")
        if together and bodies and len(bodies[-1]) + len(record) <= most:
            bodies[-1] += record
        else:
            bodies.append(record)
    return bodies
