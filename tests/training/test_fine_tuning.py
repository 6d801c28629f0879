"""From plain text of a domain to a paraphraser that knows it: the commands of scripts/README.md, in the small."""

import itertools
import json
import re
import shlex

import pytest

from handler import artifacts, load
from scripts import evaluate, parse, train
from scripts.common.paths import DEMO, ROOT
from scripts.training import trainer

COMMANDS = {"parse": parse.main, "train": train.main, "evaluate": evaluate.main}


def commands() -> list[list[str]]:
    """The arguments of the section's commands, without those that serve."""
    text = (ROOT / "scripts" / "README.md").read_text(encoding="utf-8")
    block = re.search(r"#### From plain text.*?EOF\n(python .*?)```", text, re.S)
    assert block, "the section is gone"
    lines = block[1].replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[2:] for line in lines if line.startswith("python -m scripts.")]


@pytest.mark.slow
def test_the_commands_of_the_readme_make_a_model_that_knows_the_domain(tmp_path, monkeypatch, capsys):
    pytest.importorskip("nltk")
    pytest.importorskip("sacrebleu")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trainer, "FINE_TUNE", {**trainer.FINE_TUNE, "warmup": 2})
    (tmp_path / "model_store").mkdir()
    (tmp_path / "model_store" / "demo").symlink_to(DEMO)
    (tmp_path / "manual").mkdir()
    verbs, nouns = ("Return", "Remove", "Copy", "Set"), ("iterator", "namespace", "buffer", "traceback", "tuple", "socket")
    sentences = [f"{verb} the {one} of the given {two} object." for verb in verbs for one, two in itertools.permutations(nouns, 2)]
    for number in range(12):
        text = "A HEADING\n\n   code(1)\n\n" + " ".join(sentences[number::12])
        (tmp_path / "manual" / f"{number}.txt").write_text(text, encoding="utf-8")
    run = []
    for module, *arguments in commands():
        name = module.removeprefix("scripts.")
        if name not in COMMANDS:
            continue
        files = [str(file) for word in arguments for file in (sorted(tmp_path.glob(word)) if "*" in word else [word])]
        more = ["--epochs", "5", "--threads", "1"] if name == "train" and "--from" in arguments else []
        assert COMMANDS[name]([*files, *more]) == 0, capsys.readouterr().err
        run.append(name)
    assert run == ["parse", "train", "train", "evaluate"]
    said = capsys.readouterr().out
    assert re.search(r"\| test\.tsv: rebuild \| BLEU \(authors\) \| \d+ \|", said)
    record = json.loads((tmp_path / "model_store" / "mine" / "training.json").read_text())
    curve = [point["loss"] for point in record["paraphraser"]["curve"]]
    assert min(curve) < 0.9 * curve[0] and record["unchanged"] == ["parse_generator"]
    assert artifacts.verify(tmp_path / "model_store" / "mine") == artifacts.verify(DEMO)
    assert load(tmp_path / "model_store" / "mine").paraphrase("Return the socket.", template="statement", seed=1)
