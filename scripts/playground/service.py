"""Who answers the page's requests: the server on this machine, or an endpoint of SageMaker. And how to ask the same from a shell."""

import json
import shlex
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from scripts.client import invoke
from scripts.client.invoke import LINES, URL, InvokeError, Sender
from scripts.common.command import UserError
from scripts.common.damage import reason
from scripts.common.paths import ARCHIVE, DEMO
from scripts.serving.server import STATE, Server, running

EXAMPLE = "We will have a picnic tomorrow if it is sunny."
JSON = "application/json"


class Refused(UserError):
    """The service refuses a request. `field` is the field of the request that is at fault, None where none is."""

    def __init__(self, message: str, field: str | None = None):
        super().__init__(f"{field}: {message}" if field else message)
        self.message, self.field = message, field


@dataclass(frozen=True)
class Service:
    """A SynPG that answers."""

    name: str  # as the page shows it
    send: Sender
    shell: Callable[[str], str]  # a request in JSON -> the command that sends it

    def ask(self, request: dict) -> Any:
        """The answer to one request. Raises Refused if it is at fault, InvokeError if the service cannot be asked."""
        try:  # as JSON Lines: an error then comes in place of the answer, with its field
            answer = json.loads(self.send(json.dumps(request, ensure_ascii=False).encode(), LINES))
        except (ValueError, RecursionError) as error:
            raise InvokeError(f"The answer of {self.name} is not JSON ({reason(error)}); is it a SynPG server?") from None
        refusal = answer.get("error") if isinstance(answer, dict) else None
        if isinstance(refusal, dict):
            field = refusal.get("field")
            raise Refused(str(refusal.get("message") or "no message"), field if isinstance(field, str) else None)
        return answer

    def examples(self) -> dict[str, str]:
        """What it makes of EXAMPLE under each named template; also shows that it answers at all."""
        answer = self.ask({"sent": EXAMPLE, "temperature": 0})
        if not isinstance(answer, dict) or not all(isinstance(text, str) for text in answer.values()):
            raise InvokeError(f"What {self.name} answers is no paraphrase; is it a SynPG server?")
        return answer


def endpoint(name: str, region: str | None = None, profile: str | None = None) -> Service:
    """An endpoint of SageMaker. Raises InvokeError where it cannot be asked: no region, no credentials, no boto3."""
    send = invoke.endpoint(name, region, profile)
    from scripts.aws import session  # needs boto3, of which `invoke.endpoint` has just made sure

    return Service(f"endpoint {name}", send, lambda body: signed_curl(name, str(session.Session(region, profile).region), body))


def local(url: str) -> Service:
    """A server that runs already."""
    place = urlsplit(url)
    if place.scheme not in ("http", "https") or not place.hostname:
        raise InvokeError(f"{url} is not an http address.")
    url = url if place.path.strip("/") else url.rstrip("/") + "/invocations"
    return Service(f"server {place.netloc}", invoke.server(url), lambda body: curl(url, body))


def found_or_started(stack: ExitStack, say: Callable[[str], None], state: Path = STATE) -> Service:
    """The server that runs in this folder or at the usual address; else one is started, on free ports, and stopped with the stack.

    Raises ServerError if it cannot be started.
    """
    record = running(state)
    service = local(record["url"] if record else URL)
    if record or is_synpg(service):
        return service
    say("No server runs here; one is started, which takes some seconds.")
    from scripts import build_archive  # loads torch

    build_archive.build(DEMO, ARCHIVE, "mar", if_changed=True)
    server = Server(ARCHIVE, state, port=0).start()
    stack.callback(server.stop)
    stack.callback(say, "Stopping the server that was started.")  # before it is, which takes some seconds
    return local(server.url)


def is_synpg(service: Service) -> bool:
    """Whether a SynPG answers there."""
    try:
        service.examples()
    except UserError:
        return False
    return True


def curl(url: str, body: str) -> str:
    """The shell command that sends a request to a server."""
    return f"curl -s {shlex.quote(url)} -H 'Content-Type: {JSON}' \\\n  -d {shlex.quote(body)}"


def signed_curl(name: str, region: str, body: str) -> str:
    """The shell command that sends a request to an endpoint, signed by curl itself (7.75 or later) with the keys in the environment."""
    host = f"runtime.sagemaker.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"
    return (
        f"curl -s https://{host}/endpoints/{quote(name, safe='')}/invocations -H 'Content-Type: {JSON}' \\\n"
        f'  --aws-sigv4 aws:amz:{region}:sagemaker --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" \\\n'
        f'  -H "X-Amz-Security-Token: $AWS_SESSION_TOKEN" \\\n  -d {shlex.quote(body)}'
    )
