"""Several models in one container, as SageMaker calls them: AWS's test for its PyTorch container, with this project's models."""

import json

import pytest

from tests.container.engine.conftest import Running
from tests.factories import PICNIC, body


@pytest.fixture(scope="module")
def several(image, model):
    two = {"/one": model, "/two": model}
    with Running(image, volumes=two, memory="3g", SAGEMAKER_MULTI_MODEL="true", SAGEMAKER_MODEL_SERVER_WORKERS="2") as running:
        running.wait_ready()
        assert "each model has one worker" in running.log()
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


def test_a_large_body_for_one_of_several_models_goes_on_by_itself_and_within_the_time_out(several):
    """Its chunks need no other request to come, and what the front cannot wait for is refused."""
    if not any(each["modelName"] == "two" for each in listed(several)):
        assert load(several, "two", "/two")[0] == 200
    letters = " ".join("abcdefghijklmnopqrstuvwxyz"[i % 26] for i in range(62))
    costly = {"sent": letters, "tmpl": "two_clauses", "candidates": 32, "num_paraphrases": 64}
    status, _, text = several.call("/models/two/invoke", body([costly] * 4))
    assert status == 413 and "at most 25 are allowed" in json.loads(text)["message"]
    status, _, text = several.call("/models/two/invoke", body([{**costly, "num_paraphrases": 1}] * 2))  # seconds, many chunks
    answers = json.loads(text)  # on a busy machine the time may be over before the last
    assert status == 200 and len(answers) == 2 and isinstance(answers[0], str)
