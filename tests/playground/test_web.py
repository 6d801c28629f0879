"""The server behind the page: who may ask it, what it says, how the command ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import zipfile
from html.parser import HTMLParser

import pytest

from scripts.common.paths import ROOT
from scripts.playground import __main__ as command
from scripts.playground import service, web
from scripts.serving import archive

SENT = {"sent": "It rains.", "tmpl": "statement", "temperature": 0}
EVIL = "<img src=x onerror=alert`1`>&\"'"


def test_the_page_and_its_files(page):
    for path, kind in (("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript")):
        status, headers, body = page.send("GET", path, {"Host": page.host})
        assert status == 200 and headers["Content-Type"] == f"{kind}; charset=utf-8" and len(body) == int(headers["Content-Length"])
        assert "default-src 'none'; script-src 'self'" in headers["Content-Security-Policy"] and headers["Cache-Control"] == "no-store"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"] and headers["X-Content-Type-Options"] == "nosniff"
        assert page.key.encode() not in body and "Access-Control-Allow-Origin" not in headers
    assert page.send("GET", "/../web.py", {"Host": page.host})[0] == 404
    assert page.send("GET", "/api/opening", {"Host": page.host})[0] == 404


def test_nothing_is_loaded_from_elsewhere_and_nothing_is_inline():
    texts = {file.name: file.read_text(encoding="utf-8") for file in web.STATIC.iterdir()}
    assert set(texts) == {name for name, _ in web.FILES.values()}
    for name, text in texts.items():
        addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text)) - {"http://www.w3.org"}
        assert not addresses, f"{name} names {addresses}"
    assert not re.search(r"<style|<script(?![^>]* src=)|\son\w+=|\sstyle=", texts["index.html"])  # the policy would block them
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", texts["page.js"])


class Fields(HTMLParser):
    """The form's fields, and what each label is for."""

    def __init__(self):
        super().__init__()
        self.ids, self.labelled, self.described = [], set(), set()

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "label" and "for" in given:
            self.labelled.add(given["for"])
        self.described |= set((given.get("aria-describedby") or "").split())


def test_fields_have_labels_and_a_place_for_their_error():
    parser, script = Fields(), (web.STATIC / "page.js").read_text()
    parser.feed((web.STATIC / "index.html").read_text(encoding="utf-8"))
    options = re.findall(r'"(\w+)"', re.search(r"const OPTIONS = \[(.*?)\]", script)[1])
    fields = {"sent", "like", "tree", *options}
    assert len(set(parser.ids)) == len(parser.ids)
    assert fields <= parser.labelled and {f"error-{name}" for name in fields} <= parser.described & set(parser.ids)
    assert set(re.findall(r'\$\("([\w-]+)"\)', script)) <= set(parser.ids)


def test_calls(page):
    status, told = page.call("opening", {})
    assert status == 200 and len(told["templates"]) == 10 and all(card["example"] for card in told["templates"])
    status, told = page.call("paraphrase", SENT)
    assert status == 200 and told["answers"][0]["label"] == "Statement"
    broken = {"message": "2 opening brackets have no closing one", "field": "tree"}
    assert page.call("tree", {"tree": "(ROOT (S"}) == (400, {"error": broken})
    assert page.call("paraphrase", {"sent": " "}) == (400, {"error": {"message": "is empty", "field": "sent"}})
    assert page.call("other", {})[0] == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", None, "[", "user@evil.example"])
def test_another_name_for_this_machine_is_refused(page, host):
    said = {"error": {"message": "This server answers to http://127.0.0.1 only.", "field": None}}
    assert page.call("paraphrase", SENT, Host=host, Origin=f"http://{host}") == (403, said)
    status, _, body = page.send("GET", "/", {"Host": host})
    assert status == 403 and b"<html" not in body


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": None},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {web.KEY: None},
        {web.KEY: "wrong"},
        {web.KEY: "wr\u00f6ng"},
    ],
)
def test_another_site_cannot_drive_it(page, headers):
    status, told = page.call("paraphrase", SENT, **headers)
    assert status == 403 and re.fullmatch(r"[A-Z].*\.", told["error"]["message"])


def test_it_answers_by_either_name_and_through_a_forwarded_port(page):
    for host in ("localhost:1234", "127.0.0.1:1234", page.host):
        headers = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
        assert page.call("tree", {"tree": "(ROOT (S (NP )))"}, **headers)[0] == 200


@pytest.mark.parametrize(
    "body, length", [(b"[]", None), (b"{", None), (b"\xff", None), (b"[" * 90_000, None), (b"", "200000"), (b"", "-1"), (b"", "x")]
)
def test_a_body_that_is_no_call(page, body, length):
    status, _, said = page.send("POST", "/api/tree", {**page.headers(), "Content-Length": length or str(len(body))}, body)
    assert status == 400 and said.startswith(b'{"error": ')


def test_a_text_stays_a_text(page, serve):
    status, told = page.call("paraphrase", {**SENT, "sent": f"The dog {EVIL} sleeps."})
    assert status in (200, 400)
    for tree in (f"(ROOT (S (NP (NN {EVIL.replace(' ', '')}))))", "(ROOT (NP (NN \x01\u202e\x7f)))"):
        status, told = page.call("tree", {"tree": tree})
        assert status == 200 and "<img" not in told["svg"] and "\x01" not in told["svg"]
    answer = {"paraphrase": EVIL, "tokens": [EVIL], "parse": "(ROOT (NN))", "moves": [EVIL], "truncated": False, "unknown_words": 0}
    with serve(service.Service("x", lambda *_: json.dumps({**answer, "seed": 0, "source_parse": None}), lambda body: body)) as other:
        status, told = other.call("paraphrase", SENT)
        assert status == 200 and "<img" not in told["answers"][0]["svg"]


def test_a_service_that_is_gone_is_told_in_a_sentence(serve):
    with serve(service.local("http://127.0.0.1:9")) as page:
        status, told = page.call("paraphrase", SENT)
        assert status == 502 and told["error"]["message"].startswith("Nothing answers at 127.0.0.1:9; is the server running")


def test_nothing_of_a_request_is_logged(page, capfd):
    page.call("paraphrase", SENT)
    page.call("paraphrase", {"sent": ""})
    page.send("GET", "/secret", {"Host": page.host})
    assert capfd.readouterr() == ("", "")


def test_bad_arguments_are_one_sentence(capsys, synpg):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert command.main(["--port", str(port)]) == 1
        assert capsys.readouterr().err == f"Port {port} is taken; choose another with --port, 0 for any that is free.\n"
    for arguments, said in (
        (["--port", "70000"], r"70000 is not a port: they go from 1 to 65535\."),
        (["--port", "0", "--url", "http://127.0.0.1:9"], r"Nothing answers at 127\.0\.0\.1:9; is the server running \(\S+\)\?"),
        (["--port", "0", "--url", "nonsense"], r"nonsense is not an http address\."),
    ):
        assert command.main(arguments) == 1
        assert re.fullmatch(said, capsys.readouterr().err.strip())
    with pytest.raises(SystemExit):
        command.main(["--region", "x"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_it_is_told_to_end(synpg, number):
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts.playground", "--port", "0", "--url", synpg, "--no-browser"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where tests run in the background
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    lines = [process.stdout.readline(), process.stdout.readline()]
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert re.fullmatch(r"The page is at http://127\.0\.0\.1:\d+/#[\w-]{16}\n", lines[0]) and "Ctrl-C ends it." in lines[1]
    assert out == "" and (process.returncode, err) == ((130, "\nThe page is closed.\n") if number == signal.SIGINT else (0, ""))


def test_nothing_of_it_is_in_the_archive_or_the_image(tiny_archive):
    assert not [name for name in zipfile.ZipFile(tiny_archive).namelist() if "playground" in name]
    assert not [name for name in archive.tarball_members(ROOT / "model_store" / "demo") if "playground" in name]
    sent = re.findall(r"^!scripts/(\w+)", (ROOT / ".dockerignore").read_text(), re.M)
    assert "playground" not in sent and "container" in sent
