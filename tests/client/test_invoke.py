"""The client: one request, a file, standard input; answers on standard output, errors as one sentence."""

import io
import json

import pytest

import handler
from scripts import invoke
from tests.factories import RAIN, tiny_artifact
from tests.gateway import Container

BAD = {"sent": ""}


def call(capsys, *arguments) -> tuple[int, list, str]:
    status = invoke.main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return status, [json.loads(line) for line in out.splitlines()], err


def test_one_request(server, capsys):
    status, [answer], _ = call(capsys, "--url", f"{server.url}/invocations", json.dumps(RAIN))
    assert status == 0 and isinstance(answer, str)
    status, [answer], _ = call(
        capsys,
        "--url",
        f"{server.url}/invocations",
        "--sent",
        "it rains .",
        "--tmpl",
        "command",
        "--tmpl",
        "statement",
        "--seed",
        3,
        "--details",
    )
    assert status == 0 and [a["seed"] for a in answer] == [3, 3] and answer[0]["tags_predicted"]
    url = "--url", f"{server.url}/invocations"
    fields = "--sent", "Tom's dog is here.", "--tmpl", "statement", "--temperature", 0
    assert call(capsys, *url, *fields)[1] == ["Tom's dog is here."]
    assert call(capsys, *url, *fields, "--tokenized")[1] == ["tom 's dog is here ."]


def test_without_a_server(tmp_path, capsys):
    folder = tiny_artifact(tmp_path / "tiny")
    here = "--artifact", folder
    status, [answer], _ = call(capsys, *here, json.dumps({**RAIN, "seed": 1}))
    assert status == 0 and answer == handler.load(folder).paraphrase(RAIN["sent"], RAIN["tmpl"], synt=RAIN["synt"], seed=1)
    (tmp_path / "in.jsonl").write_text(f"{json.dumps({**RAIN, 'seed': 1})}\n{json.dumps(BAD)}\n")
    status, answers, err = call(capsys, *here, "--file", tmp_path / "in.jsonl")
    assert status == 1 and answers[0] == answer and answers[1]["error"]["message"] == "is empty"
    assert call(capsys, *here, json.dumps(BAD)) == (1, [], "sent: is empty\n")


def test_trees_are_drawn(monkeypatch, capsys):
    asked = []
    answer = {"paraphrase": "it rains .", "parse": "(ROOT (S (NP (PRP)) (VP (VBZ)) (.)))", "moves": []}

    def send(body, content_type):
        asked.append(json.loads(body))
        return json.dumps({"statement": answer, "command": [answer, answer]})

    monkeypatch.setattr(invoke, "server", lambda url, timeout: send)
    assert invoke.main(["--sent", "it rains .", "--like", "she sings .", "--tree"]) == 0
    assert asked == [{"sent": "it rains .", "like": "she sings .", "details": True}]
    one = "it rains .\nROOT\n└─ S\n   ├─ NP  PRP it\n   ├─ VP  VBZ rains\n   └─ . ."
    assert capsys.readouterr().out == "\n\n".join([one] * 3) + "\n"
    with pytest.raises(SystemExit):
        invoke.main(["{}", "--tree"])


@pytest.mark.slow
def test_a_file_and_standard_input(server, capsys, tmp_path, monkeypatch):
    lines = "".join(json.dumps(value) + "\n" for value in [{**RAIN, "seed": i} for i in range(5)] + [BAD])
    (tmp_path / "requests.jsonl").write_text(lines)
    url = ("--url", f"{server.url}/predictions/synpg", "--chunk", 2)
    status, answers, err = call(capsys, *url, "--file", tmp_path / "requests.jsonl")
    assert status == 1 and len(answers) == 6 and answers[5]["error"]["field"] == "sent" and "6 answered, 1 refused" in err
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    assert call(capsys, *url, "-")[1] == answers


def test_what_is_wrong_is_one_sentence(server, capsys, tmp_path):
    assert call(capsys, "--url", f"{server.url}/invocations", json.dumps(BAD)) == (1, [], "HTTP 400: sent: is empty\n")
    assert call(capsys, "--url", "http://127.0.0.1:9/invocations", "{}")[::2] == (
        1,
        "Nothing answers at 127.0.0.1:9; is the server running (./scripts/serve.sh)?\n",
    )
    assert call(capsys, "--url", "nonsense", "{}") == (1, [], "nonsense is not an http address.\n")
    assert call(capsys, "--file", tmp_path / "none")[0] == 1


def test_an_output_is_taken_up_where_it_ends(capsys, tmp_path):
    def echo(path, headers, body):
        lines = body.decode().split("\n")
        return 200, {"Content-Type": "application/jsonlines"}, "\n".join(json.dumps(json.loads(line)["sent"]) for line in lines).encode()

    source, output = tmp_path / "requests.jsonl", tmp_path / "answers.jsonl"
    source.write_text("".join(json.dumps({"sent": f"it rains {i}"}) + "\n" for i in range(11)))
    output.write_text('"it rains 0"\n"it rains 1"\n"it ra')
    with Container(echo) as container:
        arguments = ("--url", f"{container.url}/invocations", "--file", source, "--output", output, "--chunk", 2, "--concurrency", 3)
        status, printed, err = call(capsys, *arguments)
        assert (status, printed) == (0, []) and err == f"going on after 2 answers in {output}\n9 answered, 0 refused\n"
        assert [json.loads(line) for line in output.read_text().splitlines()] == [f"it rains {i}" for i in range(11)]
        assert len(container.seen) == 5
        assert call(capsys, *arguments)[0] == 0 and len(container.seen) == 5


@pytest.mark.parametrize("arguments", [[], ["{}", "--file", "x"], ["{}", "--sent", "x"], ["--tmpl", "command"], ["-", "--chunk", "0"]])
def test_impossible_arguments(arguments):
    with pytest.raises(SystemExit) as caught:
        invoke.main(arguments)
    assert caught.value.code == 2
