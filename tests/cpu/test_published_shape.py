"""Two networks of the published size (49.6 M parameters each, random weights), from the artifact to TorchServe's answer."""

import json

from handler import artifacts
from handler.language.trees import SYNTAX_TOKENS
from handler.language.vocabulary import SPECIALS
from handler.model.network import EOS, SOS, ModelConfig
from handler.planning import PipelineConfig
from handler.wire.request import read_request
from scripts.bench import published
from scripts.common import artifact_files
from scripts.serving import archive
from scripts.serving.server import Server
from tests.factories import CODES, RAIN, body
from tests.reference import Oracle, random_net
from tests.serving.test_torchserve import post

VOCABULARY = 31_414


def test_the_published_shape_is_served_and_equals_the_oracle(tmp_path, state_factory):
    shape = dict(published.SHAPE, vocab_size=VOCABULARY)
    config = artifacts.ArtifactConfig(
        PipelineConfig("raw", 50, constrained=False),
        ModelConfig(**shape, syntax_width=102, max_steps=161),
        ModelConfig(**shape, syntax_width=162, max_steps=41),
    )
    tokens = [*SPECIALS, *(f"<{token}>" for token in SYNTAX_TOKENS)]
    tokens += [f"w{i}" for i in range(VOCABULARY - len(tokens))]
    (tmp_path / "bpe.codes").write_text(CODES)
    (tmp_path / "bpe.vocab.txt").write_text("".join(f"{token} 100\n" for token in tokens[109:]))
    nets = {"parse_generator": random_net(config.parse_generator, 1), "paraphraser": random_net(config.paraphraser, 2)}
    assert [round(sum(p.numel() for p in net.parameters()) / 1e6, 1) for net in nets.values()] == [49.6, 49.6]
    artifact_files.save(
        tmp_path / "artifact",
        config,
        {name: net.state_dict() for name, net in nets.items()},
        tokens,
        tmp_path / "bpe.codes",
        tmp_path / "bpe.vocab.txt",
    )
    archive.build(tmp_path / "artifact", tmp_path / "synpg.mar")

    request = {**RAIN, "temperature": 0}
    paraphraser = artifacts.load(tmp_path / "artifact")
    [row] = paraphraser.plan(read_request(request))
    parse = Oracle(nets["parse_generator"]).greedy(row.tags, [SOS, *row.syntax, EOS])
    text = Oracle(nets["paraphraser"]).greedy(row.pieces, [SOS, *parse])
    [decoded] = paraphraser.generate_parses([row])
    assert decoded.ids == parse and len(set(parse)) > 1
    del paraphraser, nets
    with Server(tmp_path / "synpg.mar", state_factory(), port=0) as server:
        status, _, answer = post(server, body(request))
    expected = " ".join(tokens[i].strip("<>") if i < 109 else tokens[i] for i in text if i != EOS)
    assert (status, json.loads(answer)) == (200, expected)
