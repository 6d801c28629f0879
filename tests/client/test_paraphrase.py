"""A corpus without a server: in one process and in several, interrupted and continued, and what is wrong with its lines."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import psutil
import pytest

import handler
from scripts import paraphrase
from scripts.client import invoke, local
from scripts.client.journal import Journal
from scripts.common.command import InputError
from scripts.common.paths import ROOT
from tests.factories import RAIN, tiny_artifact
from tests.gateway import Container
from tests.waiting import until

TREE = RAIN["synt"]
PATIENCE = 240  # s, for a machine that is busy with other things


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    return tiny_artifact(tmp_path_factory.mktemp("corpus") / "tiny")


@pytest.fixture
def corpus(tmp_path):
    """24 sentences with their parses."""
    (tmp_path / "in.tsv").write_text(f"{RAIN['sent']}\t{TREE}\n" * 24)
    return tmp_path / "in.tsv"


@pytest.fixture
def run(capsys, artifact):
    def run(*arguments) -> tuple[int, str, str]:
        return paraphrase.main([*map(str, arguments), "--artifact", str(artifact), "--tmpl", "command"]), *capsys.readouterr()

    return run


def command(*arguments) -> list[str]:
    return [sys.executable, "-m", "scripts.paraphrase", *map(str, arguments)]


def test_the_model_in_this_process_answers_as_in_python(run, corpus, artifact):
    status, out, err = run(corpus, "--jsonl", "--seed", 3)
    text = handler.load(artifact).paraphrase(RAIN["sent"], "command", synt=TREE, seed=3)
    assert [json.loads(line) for line in out.splitlines()] == [
        {"line": line, "sent": RAIN["sent"], "paraphrases": {"command": [text]}} for line in range(1, 25)
    ]
    assert status == 0 and re.fullmatch(r"24 sentences, 24 paraphrases, 0 refused; [\d.]+ sentences/s, [\d.]+ paraphrases/s\n", err)


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "tsv", "txt"])
def test_an_output_is_in_the_format_that_its_suffix_says(run, corpus, suffix):
    kind = "text" if suffix == "txt" else suffix
    printed = run(corpus, "--format", kind, "--seed", 1)[1]
    output = corpus.with_name(f"out.{suffix}")
    status, out, err = run(corpus, "--output", output, "--seed", 1)
    assert (status, out, output.read_text()) == (0, "", printed) and sorted(corpus.parent.iterdir()) == [corpus, output]
    status, out, err = run(corpus, "--output", output, "--seed", 1)
    assert (status, out, err) == (1, "", f"{output} exists already; give another --output, or remove it.\n")


def test_bad_lines_are_told_with_their_numbers_and_stop_nothing(run, corpus):
    lines = corpus.read_bytes().split(b"\n")
    lines[4], lines[16], lines[20] = b"caf\xe9\t(S x)", RAIN["sent"].encode() + b"\t(ROOT (S", b"\t" + TREE.encode()
    corpus.write_bytes(b"\n".join(lines))
    output = corpus.with_name("out.csv")
    status, out, err = run(corpus, "--output", output, "--seed", 1)
    assert status == 1 and out == ""
    assert err.splitlines()[:-1] == [
        "line 5: it is not text in UTF-8 (byte 3)",
        "line 17: synt: 2 opening brackets have no closing one",
        "line 21: sent: is empty",
    ]
    assert err.splitlines()[-1].startswith("24 sentences, 21 paraphrases, 3 refused; ")
    rows = output.read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == [str(n) for n in range(1, 25)]
    assert rows[16] == "17,It is raining.,,,,synt: 2 opening brackets have no closing one"
    corpus.write_bytes(b"\n".join([*lines[:4], *[b"\xff"] * 20]))
    err = run(corpus, "--output", corpus.with_name("more.csv"))[2]
    assert (
        err.count("it is not text") == paraphrase.TOLD and "line 14: it is not text in UTF-8 (byte 0); others are in the output only" in err
    )


def test_n_best_says_each_text_once(run, corpus):
    _, out, _ = run(corpus, "--n-best", 5, "--seed", 1, "--temperature", 0, "--jsonl")
    _, all_of_them, _ = run(corpus, "--num-paraphrases", 5, "--seed", 1, "--temperature", 0, "--jsonl")
    [[best], [samples]] = ([json.loads(text.splitlines()[0])["paraphrases"]["command"]] for text in (out, all_of_them))
    assert len(samples) == 5 and best == list(dict.fromkeys(samples)) and len(best) < 5


def test_only_one_output_format_that_is_known(run, corpus):
    with pytest.raises(SystemExit):
        run(corpus, "--output", corpus.with_name("out.doc"))
    assert run(corpus, "--output", corpus.with_name("out.doc"), "--format", "csv")[0] == 0


@pytest.mark.slow
def test_several_processes_write_the_same(run, corpus):
    outputs = [corpus.with_name(f"{processes}.jsonl") for processes in (1, 2)]
    for processes, output in enumerate(outputs, 1):
        assert run(corpus, "--seed", 5, "--processes", processes, "--chunk", 3, "--output", output)[0] == 0
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


@pytest.mark.slow
def test_a_run_in_processes_that_is_killed_leaves_none_and_goes_on(run, corpus, artifact):
    corpus.write_text(f"{RAIN['sent']}\t{TREE}\n" * 600)
    whole, output = corpus.with_name("whole.jsonl"), corpus.with_name("out.jsonl")
    assert run(corpus, "--seed", 5, "--output", whole)[0] == 0
    options = "--seed", 5, "--tmpl", "command", "--artifact", artifact, "--chunk", 2
    process = subprocess.Popen(command(corpus, *options, "--output", output, "--processes", 2), cwd=ROOT, stderr=subprocess.DEVNULL)
    part = output.with_name("out.jsonl.part")
    until(lambda: process.poll() is not None or (part.exists() and part.read_bytes().count(b"\n") > 5))
    children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.kill()
    process.wait()
    until(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children))
    if not output.exists():  # it was not quicker than this test
        assert run(corpus, *options[:2], "--output", output)[0] == 0
    assert output.read_bytes() == whole.read_bytes()


@pytest.mark.slow
def test_processes_end_at_once_when_nobody_waits_for_them(artifact):
    """However long they would still take: here for ever, because they are stopped."""
    done = threading.Event()
    found: list[psutil.Process] = []
    late: list[psutil.Process] = []

    def let_go():
        if not done.wait(PATIENCE):
            late.extend(found)
            for child in found:
                child.resume()

    with pytest.raises(KeyboardInterrupt), local.paraphraser(artifact, 2) as (send, _):
        send(json.dumps(RAIN).encode())
        found += [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]
        for child in found:
            child.suspend()
        threading.Thread(target=let_go, daemon=True).start()
        raise KeyboardInterrupt
    done.set()
    assert found and not late


@pytest.mark.slow
def test_a_process_that_is_ended_from_outside_is_one_sentence(artifact):
    with local.paraphraser(artifact, 2) as (send, calls):
        assert calls == 4
        body = json.dumps({**RAIN, "temperature": 0}).encode()
        assert json.loads(send(body)) == handler.load(artifact).paraphrase(RAIN["sent"], RAIN["tmpl"], synt=TREE, temperature=0)
        for child in psutil.Process().children():
            if "spawn_main" in " ".join(child.cmdline()):
                child.kill()
        with pytest.raises(invoke.InvokeError, match="A process of the model was ended from outside") as caught:
            send(body)
        assert caught.value.stop


def test_as_many_processes_as_pay(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=5 * local.PROCESS_BYTES))
    found = [local.as_many_as_pay(rows) for rows in (0, 199, 300, 499, 1_000_000)]
    assert found == [1, 1, 3, 4, 5]


# Interrupted runs, against a server that decides when


@pytest.fixture
def fake():
    """A server that keeps its answers back after `hold_from` calls, which `reached` tells, and answers 503 after `refuse_from`."""

    def answer(path, headers, body):
        calls.append(body)
        if len(calls) > server.hold_from:
            server.reached.set()
            server.release.wait(PATIENCE)
            time.sleep(server.pause)
        requests = [json.loads(line) for line in body.decode().split("\n")]
        if len(calls) > server.refuse_from:
            return 503, {"Content-Type": "application/json"}, b'{"code": 503, "message": "no worker"}'
        return 200, {"Content-Type": "application/jsonlines"}, "\n".join(json.dumps(f"about {r['sent']}") for r in requests).encode()

    calls: list[bytes] = []
    with Container(answer) as server:
        server.hold_from = server.refuse_from = float("inf")
        server.pause = 0.0
        server.reached, server.release, server.calls = threading.Event(), threading.Event(), calls
        yield server
        server.release.set()


@pytest.fixture
def sentences(tmp_path):
    (tmp_path / "in.txt").write_text("".join(f"sentence {number}\n" for number in range(40)))
    return tmp_path / "in.txt"


def asked(fake, sentences, output, *more):
    return sentences, "--url", fake.url, "--tmpl", "command", "--chunk", 2, "--concurrency", 1, "--seed", 1, "--output", output, *more


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_run_goes_on_and_writes_the_same_bytes(fake, sentences, capsys, end):
    whole, output = sentences.with_name("whole.csv"), sentences.with_name("out.csv")
    assert paraphrase.main([*map(str, asked(fake, sentences, whole))]) == 0
    part = output.with_name("out.csv.part")
    fake.calls.clear()
    fake.hold_from = 7
    process = subprocess.Popen(command(*asked(fake, sentences, output)), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert fake.reached.wait(PATIENCE)
    until(lambda: part.read_bytes().count(b"\n") == 1 + 2 * 7)  # the head, and what was answered
    process.send_signal(end)
    if end == signal.SIGINT:
        fake.pause = 0.4  # of each further answer: a busy machine may tell the process of the signal late
        fake.release.set()
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == (-9 if end == signal.SIGKILL else 130)
    if end == signal.SIGINT:
        assert "of 40 sentences are done and in" in err and err.endswith("\nStopped.\n") and "Traceback" not in err
    assert not output.exists()
    with open(part, "ab") as torn:
        torn.write(b'{"line": 15, "sent": "sent')
    fake.hold_from = float("inf")
    fake.release.set()
    fake.calls.clear()
    capsys.readouterr()
    assert paraphrase.main([*map(str, asked(fake, sentences, output))]) == 0
    assert f"going on after 14 sentences in {part}\n40 sentences, 40 paraphrases, 0 refused; " in capsys.readouterr().err
    sent = [json.loads(line)["sent"] for body in fake.calls for line in body.decode().split("\n")]
    assert sent == [f"sentence {number}" for number in range(14, 40)]
    assert output.read_bytes() == whole.read_bytes() and not part.exists()


def test_sentences_that_got_no_answer_are_asked_again(fake, sentences, capsys):
    output, part = sentences.with_name("out.jsonl"), sentences.with_name("out.jsonl.part")
    journal = [*map(str, asked(fake, sentences, output))]
    fake.refuse_from = 5
    assert paraphrase.main(journal) == 1
    assert "requests in a row got no answer" in capsys.readouterr().err and b"Unanswered" in part.read_bytes()
    fake.refuse_from = float("inf")
    assert paraphrase.main(journal) == 0
    assert [json.loads(line)["line"] for line in output.read_text().splitlines()] == list(range(1, 41))


@pytest.mark.parametrize(
    "change, said",
    [
        (["--seed", "2"], r"was begun with other settings \(options \{.*'seed': 1.*\}, now \{.*'seed': 2.*\}\): give these again"),
        (["--n-best", "2"], "was begun with other settings"),
        (["--tmpl", "statement"], "was begun with other settings"),
        (["another file"], r"was begun with other settings \(FILE \w{12}, now \w{12}\)"),
    ],
)
def test_other_work_is_not_mixed_in(fake, sentences, capsys, change, said):
    output = sentences.with_name("out.jsonl")
    part = output.with_name("out.jsonl.part")
    other = [*map(str, asked(fake, sentences, output))]
    begun = Journal(output, {})
    begun.add({"line": 1})
    begun.close()
    assert paraphrase.main(other) == 1 and "is no journal of this command" in capsys.readouterr().err
    part.unlink()
    fake.refuse_from = 3
    assert paraphrase.main(other) == 1
    before = part.read_bytes()
    capsys.readouterr()
    if change == ["another file"]:
        sentences.write_text("another\n")
        change = []
    assert paraphrase.main([*other, *change]) == 1
    assert re.search(said, capsys.readouterr().err) and part.read_bytes() == before


def test_two_runs_do_not_write_one_output(tmp_path):
    first = Journal(tmp_path / "out.csv", {"x": 1})
    with pytest.raises(InputError, match="Another run is writing .*out.csv.part."):
        Journal(tmp_path / "out.csv", {"x": 1})
    first.close()
    assert not first.file.exists()  # nothing was done


def test_a_full_disk_loses_nothing(fake, sentences, capsys):
    whole, output = sentences.with_name("whole.csv"), sentences.with_name("out.csv")
    assert paraphrase.main([*map(str, asked(fake, sentences, whole))]) == 0
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (1500, whole.stat().st_size - 10):  # in the journal; in the output
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        capsys.readouterr()
        try:
            assert paraphrase.main([*map(str, asked(fake, sentences, output))]) == 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        err = capsys.readouterr().err
        assert "File too large" in err and "of 40 sentences are done and in" in err and "Traceback" not in err
        assert not output.exists() and not list(output.parent.glob("*.new"))
    assert paraphrase.main([*map(str, asked(fake, sentences, output))]) == 0
    assert output.read_bytes() == whole.read_bytes()
