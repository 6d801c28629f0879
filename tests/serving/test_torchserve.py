"""The wire contract through a real TorchServe with the shipped model: both paths, batches, errors, concurrency."""

import concurrent.futures
import http.client
import json

import pytest
import yaml

from handler import __version__
from handler.wire.request import CATALOGUE
from scripts.common.paths import ROOT
from tests.factories import PICNIC, body

JSON = {"Content-Type": "application/json"}
PATHS = "/invocations", "/predictions/synpg"
SPEC = yaml.safe_load((ROOT / "handler" / "wire" / "openapi.yaml").read_text(encoding="utf-8"))
SENTENCES = [
    ("The lawyer thanked the scientists .", "(ROOT (S (NP (DT The) (NN lawyer)) (VP (VBD thanked) (NP (DT the) (NNS scientists))) (. .)))"),
    ("can you adjust the cameras ?", "(ROOT (SQ (MD can) (NP (PRP you)) (VP (VB adjust) (NP (DT the) (NNS cameras))) (. ?)))"),
    ("I met him in the café .", "(ROOT (S (NP (PRP I)) (VP (VBD met) (NP (PRP him)) (PP (IN in) (NP (DT the) (NN café)))) (. .)))"),
]


def post(server, data: bytes, headers=JSON, path="/invocations", method="POST"):
    """(status, headers, decoded body or None)."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=100)
    try:
        connection.request(method, path, data, dict(headers))
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, text
    finally:
        connection.close()


@pytest.mark.parametrize("path", PATHS)
def test_the_notebooks_payload_gets_one_json_string(server, path):
    status, headers, text = post(server, body(PICNIC), path=path)
    assert (status, headers["content-type"]) == (200, "application/json")
    answer = json.loads(text)
    assert isinstance(answer, str)
    assert {"picnic", "day", "tomorrow", "sunny"} & set(answer.split()), answer  # English, about the same thing


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "data, headers, status, field",
    [
        (b'{"sent": ', JSON, 400, None),
        (b"", JSON, 400, None),
        (b"\xff\xfe", JSON, 400, None),
        (body({**PICNIC, "tmpl": "(ROOT (S (NP ) "}), JSON, 400, "tmpl"),
        (body({**PICNIC, "temprature": 1}), JSON, 400, "temprature"),
        (body({"sent": "it rains", "parse": "(ROOT (S))", "tmpl": "command"}), JSON, 400, "parse"),
        (body(PICNIC), {"Content-Type": "text/csv"}, 415, None),
        (b"a=1", {"Content-Type": "application/x-www-form-urlencoded"}, 415, None),
        (body(PICNIC), {**JSON, "Accept": "image/png"}, 406, None),
        (b" " * 6_291_457, JSON, 413, None),
    ],
)
def test_errors_name_field_and_reason(server, path, data, headers, status, field):
    got, answer_headers, text = post(server, data, headers, path)
    error = json.loads(text)
    assert (got, error["code"], error["field"]) == (status, status, field)
    assert answer_headers["content-type"] == "application/json"
    assert set(error) == {"code", "type", "message", "field"} and "Traceback" not in text.decode()


def test_lists_lines_and_the_catalogue(server):
    requests = [{"sent": s, "synt": t, "seed": 3, "tmpl": name} for s, t in SENTENCES for name in ("statement", "command")]
    requests.insert(2, {"sent": "", "tmpl": "command"})
    _, _, array = post(server, body(requests))
    status, headers, lines = post(server, b"\n".join(map(body, requests)), {"content-type": "application/jsonlines; charset=utf-8"})
    assert (status, headers["content-type"]) == (200, "application/jsonlines")
    assert [json.loads(line) for line in lines.decode().split("\n")] == json.loads(array)
    assert json.loads(array)[2]["error"]["field"] == "sent"
    sentence, synt = SENTENCES[0]
    _, _, named = post(server, body({"sent": sentence, "synt": synt}))
    assert list(json.loads(named)) == list(CATALOGUE)


def test_text_beyond_ascii_survives_both_ways(server):
    sentence, synt = SENTENCES[2]
    for ascii_only in (True, False):
        data = json.dumps({"sent": sentence, "parse": synt, "temperature": 0}, ensure_ascii=ascii_only).encode()
        status, _, text = post(server, data)
        assert status == 200
    assert "\\u" not in text.decode()


def test_concurrent_requests_equal_single_ones_one_bad_among_them(server):
    jobs = [
        body({"sent": s, "synt": t, "seed": seed, "temperature": 1.0, "tmpl": name})
        for seed, (s, t) in enumerate(SENTENCES)
        for name in ("statement", "two_clauses", "yes_no_question")
    ]
    jobs.insert(4, body({"sent": "it rains", "synt": "(ROOT (NP"}))
    alone = [post(server, job)[::2] for job in jobs]
    assert [status for status, _ in alone].count(400) == 1
    with concurrent.futures.ThreadPoolExecutor(len(jobs)) as pool:
        for _ in range(3):
            assert [(status, text) for status, _, text in pool.map(lambda job: post(server, job), jobs)] == alone


def test_nothing_the_users_sent_is_in_the_log(server):
    word = "supercalifragilistic"
    post(server, body({"sent": word, "parse": "(ROOT (NP (NN x)))"}))
    post(server, body({"sent": word, word: word}))
    post(server, body({"sent": "it", "synt": f"(ROOT ({word} it))"}))
    assert word not in server.log.read_text(errors="replace")


def test_torchserves_other_paths_and_methods_are_as_described(server):
    description = " ".join(SPEC["info"]["description"].split())
    data = body({"sent": "it rains", "parse": "(ROOT (S (NP (PRP )) (VP (VBZ ))))", "seed": 1})
    for path in f"/predictions/synpg/{__version__}", "/explanations/synpg", "/v1/models/synpg:predict", "/v2/models/synpg/infer":
        assert path.replace(__version__, "VERSION") in description
        assert post(server, data, path=path)[::2] == post(server, data)[::2] and post(server, data, path=path)[0] == 200
    assert post(server, data, method="PUT")[0] == 200 and post(server, b"", method="TRACE")[0] == 400
    example = SPEC["components"]["responses"]["NotFound"]["content"]["application/json"]["example"]
    for path in "/predictions/other", "/predictions/synpg/9", "/nothing":
        status, _, text = post(server, data, path=path)
        assert (status, json.loads(text).keys()) == (404, example.keys())
    assert json.loads(post(server, data, path="/predictions/other")[2]) == {**example, "message": "Model not found: other"}


def test_management_is_not_on_the_inference_port(server):
    for method, path in (("GET", "/models"), ("PUT", "/models/synpg?min_worker=0"), ("DELETE", "/models/synpg"), ("GET", "/metrics")):
        assert post(server, b"", {}, path, method)[0] in (404, 405), path
