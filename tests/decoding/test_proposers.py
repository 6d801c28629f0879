"""Guesses at the next tokens: what is proposed, and that nothing but the number of steps depends on it."""

import json

import pytest

from handler import artifacts
from handler.decoding.proposers import LeafDrafts, NgramProposer, ParseDrafts, learn
from handler.decoding.rules import Hints
from handler.model.network import EOS
from handler.wire.request import CATALOGUE, read_request
from scripts.bench import __main__ as bench
from scripts.bench import published, workload
from scripts.common import artifact_files

# the(10) old(11) man(12, 13 in two pieces) saw(14) the(10) sea(15) .(16)
WORDS = [((10,), "DT"), ((11,), "JJ"), ((12, 13), "NN"), ((14,), "VBD"), ((10,), "DT"), ((15,), "NN"), ((16,), ".")]
SENTENCE = workload.SENTENCES[2]
COMMON = {"DT": 10, "IN": 20, ".": 16}


def drafts(leaves: str, words=WORDS) -> LeafDrafts:
    return LeafDrafts(Hints([leaves.split()], [words], COMMON))


def accepted(proposer: LeafDrafts, *tokens: int) -> LeafDrafts:
    for token in tokens:
        proposer.accept(0, token)
    return proposer


def test_a_text_under_its_sentences_own_tags_is_guessed_whole():
    assert drafts("DT JJ NN VBD DT NN .").propose(0, 20) == [10, 11, 12, 13, 14, 10, 15, 16, EOS]


def test_guesses_are_as_many_as_asked_for_even_within_a_word():
    assert drafts("DT JJ NN VBD").propose(0, 3) == [10, 11, 12]
    assert drafts("DT JJ NN VBD").propose(0, 0) == []


def test_a_leaf_takes_the_next_unwritten_word_with_its_tag():
    assert drafts("NN VBD DT JJ NN").propose(0, 9) == [12, 13, 14, 10, 11, 15, EOS]


def test_a_word_that_the_sentence_lacks_is_the_commonest_of_its_tag_or_ends_the_guess():
    assert drafts("NN IN NN").propose(0, 9) == [12, 13, 20, 15, EOS]
    assert drafts("DT NNS VBD").propose(0, 9) == [10]


def test_guesses_go_on_from_what_was_written():
    leaves = "DT JJ NN VBD DT NN ."
    assert accepted(drafts(leaves), 10, 11, 12).propose(0, 9) == [13, 14, 10, 15, 16, EOS]  # within a word
    assert accepted(drafts(leaves), 10, 99).propose(0, 9) == [12, 13, 14, 10, 15, 16, EOS]  # an own word for `old`
    assert accepted(drafts(leaves), 10, 11, 12, 99).propose(0, 9) == [14, 10, 15, 16, EOS]  # the word went on otherwise


def test_a_text_that_passes_leaves_over_is_followed():
    assert accepted(drafts("DT JJ NN VBD DT NN ."), 10, 12, 13).propose(0, 9) == [14, 10, 15, 16, EOS]  # without `old`


def test_nothing_is_guessed_of_a_sentence_whose_tags_are_not_known():
    assert drafts("DT NN", []).propose(0, 9) == []


def test_what_was_proposed_is_not_taken_for_written():
    proposer = drafts("DT JJ NN")
    assert proposer.propose(0, 9) == proposer.propose(0, 9) == [10, 11, 12, 13, EOS]


def test_parses_without_a_grammar_are_guessed_to_their_end():
    table = NgramProposer(*learn([bytes([1, 7, 8, 9, EOS])] * 3, least=1))
    proposer = ParseDrafts(table, [None, None])
    assert proposer.propose(0, 9) == [7, 8, 9, EOS]
    proposer.accept(1, 7)
    assert (proposer.propose(0, 9), proposer.propose(1, 2)) == ([7, 8, 9, EOS], [8, 9])
    proposer.accept(1, 31_000)  # a word, which nothing keeps out of a parse here
    assert proposer.propose(1, 9) == []


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """Tiny networks that answer a sentence with itself."""
    return published.make(tmp_path_factory.mktemp("taught") / "taught", bench.DEMO, published.TINY, 0, [SENTENCE])


@pytest.mark.parametrize("constrained", [True, False])
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_texts_that_no_lexicon_aligns_are_drafted_and_stay_the_same(taught, constrained, temperature):
    config = json.loads((taught / "config.json").read_text())
    config["pipeline"]["constrained"] = constrained
    (taught / "config.json").write_text(json.dumps(config))
    artifact_files.write_manifest(taught)
    fast, slow = artifacts.load(taught, precision="fp32"), artifacts.load(taught, precision="fp32", drafts=False)
    steps = dict.fromkeys(artifacts.NETS, 0)
    for name in artifacts.NETS:

        def counted(*args, name=name, verify=fast.backend(name).net.verify):
            steps[name] += 1
            return verify(*args)

        fast.backend(name).net.verify = counted
    request = workload.body(*SENTENCE) | {"temperature": temperature, "seed": 5}
    requests = [request, workload.whole(request), request | {"tmpl": list(CATALOGUE.values())}]
    rows = workload.rows(fast, requests)
    assert all(row.hints for row in rows)
    expected = slow.run(rows)
    for some in (slice(None), slice(0, 1), slice(2, 4)):  # how long drafts are depends on how many rows there are
        found = fast.run(rows[some])
        assert [(f.text, f.parse, f.truncated) for f in found] == [(e.text, e.parse, e.truncated) for e in expected[some]]
    if not temperature:
        steps.update(dict.fromkeys(artifacts.NETS, 0))
        [made] = fast.run(rows[:1])
        assert made.text == SENTENCE[0]
        assert steps["parse_generator"] < 20 and steps["paraphraser"] < 6  # for 53 and 11 tokens


def test_hints_need_words_and_tags_that_line_up(taught):
    planner = artifacts.load(taught, precision="fp32").planner
    [row] = planner.plan(read_request(workload.body(*SENTENCE)))
    assert [tag for _, tag in row.hints] == "DT NN VBD DT NNS IN PRP$ JJ NN .".split()
    assert planner.hints(row.pieces, ["DT"]) == []
