"""Word vectors and rare words: which become tokens, where their rows begin, what the loss teaches them, and that they are copied."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from handler import artifacts
from handler.model.network import EOS, PAD, SOS
from handler.wire.request import read_request
from scripts import train
from scripts.common import artifact_files
from scripts.training import corpus, initial_weights, trainer
from tests.factories import tiny_artifact
from tests.reference import random_net, tiny_config
from tests.training.small_corpus import lexicon_of, vocabulary_of

LINES = ["the 1 2", "Paris 9 9", "dog 0.5 -3e-1", "ümlaut 9 9", "unseen 3 4", "route66 9 9", "o'clock 5 6", ", 9 9", "well-known 7 8"]


@pytest.mark.parametrize("header", [[], ["9 2"]])
def test_words_with_vectors_are_tokens_and_those_seldom_seen_come_last(tmp_path, header):
    tokens, generation_vocab_size, vectors = vocabulary_of(tmp_path, [*header, *LINES])
    assert set(tokens[generation_vocab_size:]) == {"dog", "there", "unseen", "o'clock", "well-known"}  # seen 10 times, or never
    assert {"the", "is", "cat", "here", "cats"} <= set(tokens[:generation_vocab_size])
    assert (
        tokens.index("the")
        < tokens.index("cat")
        < tokens.index("cats")
        < generation_vocab_size
        <= tokens.index("dog")
        < tokens.index("unseen")
    )
    assert not {"Paris", "paris", "ümlaut", "route66", ",", "9", "owl", "it's"} & set(tokens)
    assert vectors == {"the": [1, 2], "dog": [0.5, pytest.approx(-0.3)], "unseen": [3, 4], "o'clock": [5, 6], "well-known": [7, 8]}
    pieces = artifacts.read_pieces(tmp_path / "bpe.codes", tmp_path / "bpe.vocab.txt", corpus.MIN_COUNT)
    assert pieces.split(["unseen", "well-known", "the"]) == ["unseen", "well-known", "the"] and len(pieces.split(["owl"])) > 1


def test_only_so_many_of_the_commonest_words_are_taken_for_their_vectors_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "VECTOR_WORDS", 5)  # lines, as they come
    tokens, _, vectors = vocabulary_of(tmp_path, ["9 2", *LINES, "cat 7 7"])
    assert "unseen" in tokens and "o'clock" not in tokens
    assert vectors["cat"] == [7, 7]  # a token anyway, and its vector is known


@pytest.fixture
def vectors_of_tokens(tmp_path, monkeypatch):
    """A prepared corpus's vectors (N, D) of 32 of 40 tokens, of which 25 are freely written; rows that are a linear map of them."""
    monkeypatch.setattr(initial_weights, "RIDGE", 1e-9)
    g = torch.Generator().manual_seed(1)
    vectors, ids = torch.randn(40, 3, generator=g), torch.tensor([i for i in range(40) if i % 5])
    np.savez(tmp_path / corpus.VECTORS, ids=ids.numpy(), vectors=vectors[ids].numpy())
    rows = {}
    for key in ("embedding_encoder.weight", "embedding_decoder.weight", "linear.weight"):
        rows[key] = vectors @ torch.randn(3, 6, generator=g) + torch.randn(6, generator=g)
    return tmp_path, ids, rows


def test_rare_rows_begin_where_a_linear_map_takes_their_vectors(vectors_of_tokens):
    corpus, ids, rows = vectors_of_tokens
    state, known = {key: table.clone() for key, table in rows.items()}, torch.ones(40, dtype=torch.bool)
    known[[3, 4]] = False
    g = torch.Generator().manual_seed(2)
    for table in state.values():  # rows that say nothing of the map: rare ones, those new to the network, and those without a vector
        for i in [*range(25, 40), 3, 4, 10]:
            table[i] = torch.randn(6, generator=g) * 9
    state["linear.bias"] = torch.randn(40, generator=g)
    before = {key: table.clone() for key, table in state.items()}
    initial_weights.begin_at_vectors(state, corpus, 25, known)
    common = [i for i in ids.tolist() if i < 25 and i not in (3, 4)]
    for key in rows:
        assert torch.equal(state[key][:25], before[key][:25])
        length = initial_weights.RARE_LENGTH * rows[key][common].norm(dim=1).mean()
        for i in range(25, 40):  # one without a vector keeps its direction
            row = rows[key][i] if i % 5 else before[key][i]
            torch.testing.assert_close(state[key][i], row * length / row.norm(), atol=1e-4, rtol=1e-4)
    assert torch.equal(state["linear.bias"][:25], before["linear.bias"][:25])
    assert (state["linear.bias"][25:] == initial_weights.RARE_BIAS).all()


@pytest.mark.parametrize("generation_vocab_size", [100, 140])
@torch.no_grad()
def test_the_loss_is_over_what_each_row_may_write(generation_vocab_size):
    net = random_net(tiny_config(generation_vocab_size=generation_vocab_size), 4)
    bag = torch.tensor([[7, 120, 101, 120], [110, PAD, 9, PAD]])
    syntax = torch.tensor([[SOS, 106, 6, EOS], [SOS, 50, EOS, PAD]])
    targets = torch.tensor([[SOS, 120, 7, 120, 101, EOS], [SOS, 9, 130, 110, EOS, PAD]])  # 130 was dropped from its bag
    loss, right, count = trainer.loss_of(net, bag, syntax, targets[:, :-1], targets[:, 1:])
    states = net(bag, syntax, targets[:, :-1])
    expected, hits, counted = 0.0, 0, 0
    for i, row in enumerate(bag.tolist()):
        choices = [*range(generation_vocab_size), *dict.fromkeys(token for token in row if token >= generation_vocab_size)]
        for position, label in enumerate(targets[i, 1:].tolist()):
            if label == PAD or label not in choices:
                continue
            scores = net.linear(states[i, position])[choices].log_softmax(-1)
            expected -= scores[choices.index(label)].item()
            hits += choices[scores.argmax()] == label
            counted += 1
    assert count == counted == (8 if generation_vocab_size == 100 else 9) and int(right) == hits
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    labels = targets[:, 1:].clone()
    labels[labels == 130] = PAD
    assert (generation_vocab_size == 140) == (
        trainer.loss_of(net, bag, syntax, targets[:, :-1], labels)[0].item() != pytest.approx(expected, rel=1e-5)
    )


def test_a_loss_over_copied_words_teaches_their_rows():
    net = random_net(tiny_config(generation_vocab_size=100, tie="all"), 4)
    bag, syntax = torch.tensor([[7, 120, 101]]), torch.tensor([[SOS, 106, EOS]])
    loss, *_ = trainer.loss_of(net, bag, syntax, torch.tensor([[SOS, 120]]), torch.tensor([[120, EOS]]))
    loss.backward()
    moved = net.linear.weight.grad.abs().sum(1) > 0
    assert moved[[120, 101]].all() and not moved[[119, 121, 139]].any() and net.linear.bias.grad[[120, 101]].ne(0).all()


def test_vectors_are_refused_where_they_cannot_be_used(small, tmp_path, capsys):
    (tmp_path / "vectors.txt").write_text("dog 1 2\n")
    files = ["--train", str(small / "train.tsv"), "--dev", str(small / "dev.tsv"), "--vectors", str(tmp_path / "vectors.txt")]
    with pytest.raises(SystemExit) as caught:
        train.main([str(small / "w0"), *files, "--from", str(tiny_artifact(tmp_path / "base"))])
    assert caught.value.code == 2 and "--vectors with --from needs --merges" in capsys.readouterr().err
    attended = tiny_artifact(tmp_path / "attended", attend_pads=True)
    with pytest.raises(SystemExit) as caught:
        train.main([str(small / "w1"), *files, "--merges", "40", "--from", str(attended)])
    assert caught.value.code == 2 and "--vectors needs an artifact that masks pads" in capsys.readouterr().err
    assert not any((small / f"w{i}").exists() for i in range(2))  # nor is anything left that a next run would go on from


@pytest.mark.slow
def test_words_seldom_seen_are_copied_after_fine_tuning_with_vectors(small, tmp_path):
    base = tiny_artifact(tmp_path / "base", tie="all")
    words = "the a . dog cat bird horse sees likes finds tree house ball river take see zebra giraffe".split()
    g = np.random.default_rng(1)
    (small / "vectors.txt").write_text("".join(f"{word} {' '.join(map(str, g.normal(size=4).round(3)))}\n" for word in words))
    data = ["--train", str(small / "train.tsv"), "--dev", str(small / "dev.tsv"), "--net", "paraphraser"]
    tune = ["--from", str(base), *data, "--merges", "90", "--vectors", str(small / "vectors.txt"), "--epochs", "1"]
    out, corpus = small / "out", small / "one" / "corpus"
    assert train.main([str(small / "one"), *tune]) == 0
    assert train.main([str(small / "one"), "--export", str(out)]) == 0
    record, config = json.loads((corpus / "corpus.json").read_text()), artifacts.verify(out)
    tokens, generation_vocab_size = artifacts.read_vocabulary(out / "vocab.json").tokens, config.paraphraser.generation_vocab_size
    assert (
        record["generation_vocab_size"] == generation_vocab_size
        and record["vectors"]["file"] == "vectors.txt"
        and len(record["vectors"]["sha256"]) == 64
    )
    assert {"the", "a", "."} <= set(tokens[:generation_vocab_size]) and {"dog", "zebra", "giraffe"} <= set(tokens[generation_vocab_size:])
    assert config.parse_generator == artifacts.verify(base).parse_generator and config.parse_generator.generation_vocab_size is None
    kept, stored = (load_file(folder / "parse_generator.safetensors") for folder in (base, out))
    assert kept.keys() == stored.keys() and all(torch.equal(kept[name], stored[name]) for name in kept)
    begun = initial_weights.begin_from(base, "paraphraser", corpus)
    assert begun.config.generation_vocab_size == generation_vocab_size and begun.linear.weight is begun.embedding_encoder.weight
    lengths = begun.linear.weight[generation_vocab_size:].norm(dim=1)
    torch.testing.assert_close(lengths, lengths[:1].expand_as(lengths))
    assert (begun.linear.bias[generation_vocab_size:] == initial_weights.RARE_BIAS).all() and not (
        begun.linear.bias[:generation_vocab_size] == initial_weights.RARE_BIAS
    ).any()
    counts = artifacts.load_lexicon(out / artifacts.LEXICON, generation_vocab_size)[0]
    assert counts.any() and np.array_equal(counts, lexicon_of(corpus)[:, :generation_vocab_size])

    settings = json.loads((out / "config.json").read_text())
    settings["pipeline"]["copy_odds"] = 50
    artifact_files.write_json(out / "config.json", settings)
    artifact_files.write_manifest(out)
    parse = "(ROOT (S (NP (DT the) (NN zebra)) (VP (VBZ likes) (NP (DT a) (NN giraffe))) (. .)))"
    for options in (dict(compiled=False), dict(precision="fp32"), dict(precision="int8")):
        paraphraser = artifacts.load(out, **options)
        rows = paraphraser.plan(
            read_request({"sent": "the zebra likes a giraffe .", "synt": parse, "parse": parse, "seed": 1, "num_paraphrases": 8})
        )
        assert sum(i >= generation_vocab_size for i in rows[0].pieces) == 3
        texts = [done.text.split() for done in paraphraser.run(rows)]
        assert all({text[1], text[4]} == {"zebra", "giraffe"} for text in texts)  # at the nouns' leaves, one each
        assert not any({"dog", "cat", "bird", "horse"} & set(text) for text in texts)

    # With the vocabulary kept, what is written stays; with another one that has no vectors, everything is.
    assert train.main([str(small / "two"), "--from", str(out), *data, "--epochs", "0.1"]) == 0
    assert train.main([str(small / "two"), "--export", str(small / "again")]) == 0
    assert artifacts.verify(small / "again").paraphraser.generation_vocab_size == generation_vocab_size
    now = artifacts.load_lexicon(small / "again" / artifacts.LEXICON, generation_vocab_size)[0]
    assert np.array_equal(now, counts + lexicon_of(small / "two" / "corpus")[:, :generation_vocab_size])
    assert train.main([str(small / "three"), "--from", str(out), *data, "--epochs", "0.1", "--merges", "40"]) == 0
    assert initial_weights.begin_from(out, "paraphraser", small / "three" / "corpus").config.generation_vocab_size is None
