"""Paraphrasing a file by a server: order, errors in their places, and one sentence if the file cannot be processed."""

import json
import os
import pty
import re
import subprocess
import sys
import termios
import threading
import time

import pytest

from handler.wire.request import CATALOGUE
from scripts import paraphrase
from tests.factories import RAIN
from tests.gateway import Container, Endpoint, Gateway

JSON_LINES = {"Content-Type": "application/jsonlines"}


def answer_to(request: dict):
    """As the handler answers, with `TEMPLATE of SENTENCE` for a paraphrase; `bad` sentences are refused."""
    sent, n = request["sent"], request.get("num_paraphrases", 1)
    if not isinstance(sent, str) or "bad" in sent:
        return {"error": {"code": 400, "type": "InvalidRequest", "message": "is empty", "field": "sent"}}
    target = request.get("tmpl", request.get("parse"))
    if target is None:
        return {name: [f"{name} of {sent}"] * n if n > 1 else f"{name} of {sent}" for name in CATALOGUE}
    rows = [
        f"{name} of {sent}" + (f" {i}" if n > 1 else "") for name in (target if isinstance(target, list) else [target]) for i in range(n)
    ]
    rows = [{"paraphrase": row, "seed": 1} for row in rows] if request.get("details") else rows
    return rows if isinstance(target, list) or n > 1 else rows[0]


@pytest.fixture()
def fake():
    def answer(path, headers, body):
        requests = [json.loads(line) for line in body.decode().split("\n")]
        if any(request.get("sent") == "busy" for request in requests):
            return 503, {"Content-Type": "application/json"}, b'{"code": 503, "message": "no worker"}'
        time.sleep(sum(0.3 for request in requests if request.get("sent") == "slow"))
        return 200, JSON_LINES, "\n".join(json.dumps(answer_to(request)) for request in requests).encode()

    with Container(answer) as container:
        yield container


def run(capsys, server, *arguments) -> tuple[int, str, str]:
    """Status, output and errors; of the last line of the errors without the rates."""
    status = paraphrase.main([*map(str, arguments), *(["--url", server.url] if server else [])])
    out, err = capsys.readouterr()
    return status, out, re.sub(r"; \d+\.\d sentences/s, \d+\.\d paraphrases/s\n$", "\n", err)


def sent(fake) -> list[dict]:
    return [json.loads(line) for _, _, body in fake.seen for line in body.decode().split("\n")]


def test_side_by_side(fake, capsys, tmp_path):
    (tmp_path / "in.txt").write_text("it rains .\r\n\n  bad\nthe sun  shines")
    status, out, err = run(
        capsys,
        fake,
        tmp_path / "in.txt",
        "--tmpl",
        "command",
        "--tmpl",
        "(ROOT (S (VP )))",
        "--num-paraphrases",
        2,
        "--temperature",
        0,
        "--seed",
        7,
    )
    assert (
        out
        == """it rains .
  command           command of it rains . 0
                    command of it rains . 1
  (ROOT (S (VP )))  (ROOT (S (VP ))) of it rains . 0
                    (ROOT (S (VP ))) of it rains . 1

bad
  ! sent: is empty

the sun  shines
  command           command of the sun  shines 0
                    command of the sun  shines 1
  (ROOT (S (VP )))  (ROOT (S (VP ))) of the sun  shines 0
                    (ROOT (S (VP ))) of the sun  shines 1

"""
    )
    assert (status, err) == (1, "3 sentences, 8 paraphrases, 1 refused\n")
    assert sent(fake)[0] == {
        "temperature": 0,
        "seed": 7,
        "num_paraphrases": 2,
        "tmpl": ["command", "(ROOT (S (VP )))"],
        "sent": "it rains .",
    }
    assert {(path, headers["content-type"]) for path, headers, _ in fake.seen} == {("/invocations", "application/jsonlines")}


def test_all_named_templates_unless_told_otherwise(fake, capsys, tmp_path):
    (tmp_path / "in").write_text("it rains .")
    status, out, _ = run(capsys, fake, tmp_path / "in", "--jsonl")
    assert status == 0 and json.loads(out) == {
        "line": 1,
        "sent": "it rains .",
        "paraphrases": {name: [f"{name} of it rains ."] for name in CATALOGUE},
    }
    assert sent(fake) == [{"sent": "it rains ."}]
    assert run(capsys, fake, tmp_path / "in", "--tokenized")[0] == 0
    assert sent(fake)[-1] == {"tokenized": True, "sent": "it rains ."}


def test_a_request_of_json_lines_keeps_its_own_fields(fake, capsys, tmp_path):
    requests = [
        RAIN,
        {"sent": "a", "parse": ["(X)", "(Y)"], "num_paraphrases": 1},
        {"sent": "b", "details": True},
        {"sent": "c", "tmpl": ["command", "command"], "details": True, "seed": 3},
        {"sent": None},
        {"tmpl": "command"},
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, requests[:5])))
    status, out, _ = run(capsys, fake, tmp_path / "in.jsonl", "--tmpl", "statement", "--seed", 1, "--jsonl", "--concurrency", 1)
    assert [json.loads(line)["sent"] for line in out.splitlines()] == [RAIN["sent"], "a", "b", "c", None]
    answers = [json.loads(line).get("paraphrases") for line in out.splitlines()]
    assert [list(answer) for answer in answers[:4]] == [[RAIN["tmpl"]], ["(X)", "(Y)"], ["statement"], ["command"]]
    assert answers[3] == {"command": ["command of c"] * 2} and status == 1
    assert [request["seed"] for request in sent(fake)] == [1, 1, 1, 3, 1]


def test_order_is_kept_and_calls_run_side_by_side(fake, capsys, tmp_path):
    (tmp_path / "in").write_text("slow\na\nslow\nb\nslow\nc\nslow\nd\n")
    begun = time.monotonic()
    _, out, _ = run(capsys, fake, tmp_path / "in", "--tmpl", "command", "--jsonl", "--chunk", 2, "--concurrency", 4)
    assert [json.loads(line)["sent"] for line in out.splitlines()] == ["slow", "a", "slow", "b", "slow", "c", "slow", "d"]
    assert time.monotonic() - begun < 4 * 0.3 and len(fake.seen) == 4


def test_a_call_that_fails_costs_one_sentence(fake, capsys, tmp_path):
    (tmp_path / "in").write_text("a\nb\nbusy\nc\nd\n")
    status, out, err = run(capsys, fake, tmp_path / "in", "--tmpl", "command", "--chunk", 2, "--jsonl")
    answers = [json.loads(line) for line in out.splitlines()]
    assert [answer["sent"] for answer in answers] == ["a", "b", "busy", "c", "d"] and status == 1
    assert "no worker" in answers[2]["error"]["message"] and "paraphrases" in answers[3]
    assert err == "5 sentences, 4 paraphrases, 1 refused\n"


def test_a_server_that_answers_nothing_is_not_asked_for_ever(fake, capsys, tmp_path):
    (tmp_path / "in").write_text("busy\n" * 50)
    status, out, err = run(capsys, fake, tmp_path / "in", "--chunk", 1, "--concurrency", 1)
    assert status == 1 and err == "3 requests in a row got no answer: HTTP 503: no worker\n" and len(fake.seen) < 8
    status, out, err = run(capsys, None, tmp_path / "in", "--url", "http://127.0.0.1:9")
    assert (status, out) == (1, "") and err.startswith("Nothing answers at 127.0.0.1:9") and err.count("\n") == 1
    assert run(capsys, None, tmp_path / "none")[0] == 1


def test_an_endpoint(fake, capsys, tmp_path, monkeypatch):
    """boto3 to the gateway to a container; a call that was not ready is made again."""
    (tmp_path / "in").write_text("a\nbad\nc\n")
    with Gateway({"synpg": Endpoint(fake.url)}) as gateway:
        for name, value in gateway.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("scripts.aws.runtime.FIRST_PAUSE", 0.01)
        gateway.refusals.append((429, "ModelNotReadyException", "not yet"))
        status, out, err = run(capsys, None, tmp_path / "in", "--endpoint", "synpg", "--tmpl", "command", "--chunk", 2)
        assert (status, err) == (1, "3 sentences, 2 paraphrases, 1 refused\n") and "  command  command of c\n" in out
        assert gateway.calls == 3
        status, out, err = run(capsys, None, tmp_path / "in", "--endpoint", "another")
        assert (status, out) == (1, "") and "another" in err and err.count("\n") == 1


@pytest.mark.parametrize("answer", ["<html>", '"one"', '{"a": 1}\n{"a": 1}', "[]\n[]", "3\n3"])
def test_another_servers_answer(answer, capsys, tmp_path):
    (tmp_path / "in").write_text("a\nb\n")
    with Container(lambda *_: (200, JSON_LINES, answer.encode())) as other:
        status, out, err = run(capsys, other, tmp_path / "in", "--tmpl", "command")
    assert (status, out) == (1, "") and err.count("\n") == 1


def test_a_reader_that_goes_away(fake, tmp_path):
    (tmp_path / "in").write_text("a\n" * 2000)
    done = subprocess.run(
        f"'{sys.executable}' -m scripts.paraphrase '{tmp_path / 'in'}' --url {fake.url} | head -1",
        shell=True,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("a\n", "")
    assert threading.active_count() < 20


def test_a_real_server(server, capsys, tmp_path):
    """The first sentences of SST-2, as its table has them, on TorchServe."""
    (tmp_path / "dev.tsv").write_text(
        "sentence\tlabel\nit 's a charming and often affecting journey . \t1\nunflinchingly bleak and desperate \t0\n"
    )
    status, out, err = run(capsys, server, tmp_path / "dev.tsv", "--temperature", 0, "--jsonl")
    answers = [json.loads(line) for line in out.splitlines()]
    assert [answer["sent"] for answer in answers] == ["it 's a charming and often affecting journey .", "unflinchingly bleak and desperate"]
    assert all(list(answer["paraphrases"]) == list(CATALOGUE) for answer in answers)
    assert (status, err) == (0, "2 sentences, 20 paraphrases, 0 refused\n")
    status, out, _ = run(capsys, server, tmp_path / "dev.tsv", "--tmpl", "no_such")
    assert status == 1 and out.count("\n  ! tmpl.0: is neither a bracketed template nor one of statement") == 2


def test_progress_is_for_those_who_look(fake, tmp_path):
    """The bar is on standard error where that is a terminal; standard output has results only."""
    (tmp_path / "in").write_text("a\nb\n")
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    done = subprocess.run(
        [sys.executable, "-m", "scripts.paraphrase", tmp_path / "in", "--url", fake.url, "--tmpl", "command"],
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    )
    os.close(theirs)
    seen = os.read(ours, 10_000).decode()
    os.close(ours)
    assert "2/2" in seen and re.search(r"2 sentences, 2 paraphrases, 0 refused; .* sentences/s, .* paraphrases/s\r\n$", seen)
    assert done.stdout == "a\n  command  command of a\n\nb\n  command  command of b\n\n"


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "x --chunk 0",
        "x --processes 0",
        "x --url http://x --endpoint y",
        "x --url http://x --artifact y",
        "x --url http://x --processes 2",
        "x --concurrency 2",
        "x --timeout 2",
        "x --region us-east-1",
        "x --tmpl a --like b",
        "x --num-paraphrases 2 --n-best 2",
        "x --output out.docx",
        "x --format parquet",
        "x --format docx",
    ],
)
def test_impossible_arguments(arguments):
    with pytest.raises(SystemExit) as caught:
        paraphrase.main(arguments.split())
    assert caught.value.code == 2
