"""Several models in one container, as SageMaker calls them: AWS's test for its PyTorch container, with this project's models."""

import json

import pytest

from tests.container.engine.conftest import Running
from tests.factories import PICNIC, body


@pytest.fixture(scope="module")
def several(image, model):
    with Running(image, volumes={"/one": model, "/two": model}, memory="3g", SAGEMAKER_MULTI_MODEL="true") as running:
        running.wait_ready()
        yield running


def load(several, name, url):
    status, _, text = several.call("/models", json.dumps({"model_name": name, "url": url}).encode())
    return status, json.loads(text)


def listed(several):
    status, _, text = several.call("/models", headers={})
    assert status == 200
    return json.loads(text)["models"]


def test_models_are_loaded_listed_invoked_and_unloaded(several):
    assert listed(several) == []
    for name in "one", "two":
        status, told = load(several, name, f"/{name}")
        assert status == 200 and told["status"].startswith(f'Model "{name}" Version: ')
        assert told["status"].endswith("registered with 1 initial workers")
    assert listed(several) == [{"modelName": "one", "modelUrl": "/one"}, {"modelName": "two", "modelUrl": "/two"}]
    answers = {json.loads(several.call(f"/models/{name}/invoke", body({**PICNIC, "temperature": 0}))[2]) for name in ("one", "two")}
    assert len(answers) == 1 and "picnic" in answers.pop()
    assert several.call("/models/one", headers={})[0] == 200
    assert several.call("/models/none", headers={})[0] == 404
    assert load(several, "two", "/two")[0] == 409
    assert load(several, "banana", "/banana")[0] == 404
    status, _, text = several.call("/models/one", headers={}, method="DELETE")
    assert status == 200 and json.loads(text)["status"] == 'Model "one" unregistered'
    assert listed(several) == [{"modelName": "two", "modelUrl": "/two"}]
    assert several.call("/models/one", headers={}, method="DELETE")[0] == 404
    assert several.call("/models/one/invoke", body(PICNIC))[0] == 404


def test_what_sagemaker_does_not_call_is_closed(several):
    assert several.call("/models/two?min_worker=0", b"", {}, "PUT")[0] == 405
    for path in "/invocations", "/predictions/two", "/explanations/two":
        assert several.call(path, body(PICNIC))[0] == 404
    assert several.ping() == 200
