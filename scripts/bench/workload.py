"""What is asked for: sentences with their parses, rebuilt under the top of their own parse. Greedy, so that it repeats."""

from dataclasses import dataclass

from handler.errors import RequestError, SyntaxTreeError
from handler.language import trees
from handler.model.network import EOS, SOS
from handler.pipeline import Pipeline
from handler.wire.request import CATALOGUE, read_request

# (lower-case sentence, its parse): 10 to 13 words, 52 to 70 syntax tokens.
SENTENCES = (
    (
        "the old man told the children a long story about the sea .",
        "(ROOT (S (NP (DT the) (JJ old) (NN man)) (VP (VBD told) (NP (DT the) (NNS children)) (NP (NP (DT a) (JJ long) (NN story)) "
        "(PP (IN about) (NP (DT the) (NN sea))))) (. .)))",
    ),
    (
        "she bought two tickets because her brother likes this band .",
        "(ROOT (S (NP (PRP she)) (VP (VBD bought) (NP (CD two) (NNS tickets)) (SBAR (IN because) (S (NP (PRP$ her) (NN brother)) "
        "(VP (VBZ likes) (NP (DT this) (NN band)))))) (. .)))",
    ),
    (
        "the lawyer thanked the scientists for their honest work .",
        "(ROOT (S (NP (DT the) (NN lawyer)) (VP (VBD thanked) (NP (DT the) (NNS scientists)) (PP (IN for) (NP (PRP$ their) "
        "(JJ honest) (NN work)))) (. .)))",
    ),
    (
        "yesterday the train from london arrived at the station very late .",
        "(ROOT (S (NP (NN yesterday)) (NP (NP (DT the) (NN train)) (PP (IN from) (NP (NNP london)))) (VP (VBD arrived) "
        "(PP (IN at) (NP (DT the) (NN station))) (ADVP (RB very) (RB late))) (. .)))",
    ),
)


@dataclass(frozen=True)
class Ids:
    """One request as the networks see it."""

    tags: list[int]
    template: list[int]  # with <sos> and <eos>
    pieces: list[int]
    parse: list[int]  # what the parse generator answers, <eos> included
    text: list[int]  # what the paraphraser answers, numbered as `handler.model.copying` has it, <eos> included


def body(sentence: str, parse: str) -> dict:
    """The request to rebuild a sentence under the top of its parse, with one candidate."""
    return {
        "sent": sentence,
        "synt": parse,
        "tmpl": str(trees.template_of(trees.normalize(trees.read_tree(parse)))),
        "temperature": 0,
        "candidates": 1,
    }


def whole(request: dict) -> dict:
    """The same request, its whole parse to be followed."""
    return {**{name: value for name, value in request.items() if name not in ("tmpl", "candidates")}, "parse": request["synt"]}


def bodies(count: int, first: int = 0, sentences=SENTENCES) -> list[dict]:
    """`count` requests, the sentences in turn from the `first` on."""
    return [body(*sentences[(first + i) % len(sentences)]) for i in range(count)]


def served(turn: int = 0) -> dict:
    """A request as callers send it, who leave the number of candidates to the artifact."""
    [request] = bodies(1, turn)
    return {name: value for name, value in request.items() if name != "candidates"}


def mixed(turn: int) -> dict:
    """The requests of many callers: greedy and sampled, one paraphrase and several, a template, a list of them, a whole parse."""
    request = {**served(turn), "seed": turn}
    if turn % 3 == 1:
        request |= {"temperature": 0.8, "num_paraphrases": 1 + turn % 4}
    elif turn % 3 == 2:
        request |= {"tmpl": list(CATALOGUE)[turn % 5 : turn % 5 + 2]}
    return whole(request) if turn % 7 == 6 else request


def rows(paraphraser: Pipeline, requests: list[dict]) -> list:
    """The pipeline's rows of some requests."""
    return [row for request in requests for row in paraphraser.plan(read_request(request))]


def answered(paraphraser: Pipeline, requests: list[dict]) -> list[Ids]:
    """The requests as ids, with the ids that this paraphraser answers."""
    found = rows(paraphraser, requests)
    parses = paraphraser.generate_parses(found)
    texts = paraphraser.generate_texts(found, parses)
    return [Ids(row.tags, [SOS, *row.syntax, EOS], row.pieces, parse.ids, text.ids) for row, parse, text in zip(found, parses, texts)]


def known_answers(paraphraser: Pipeline, sentences) -> tuple[list[dict], list[Ids]]:
    """Requests to rebuild (sentence, parse) pairs, and their ids with the right answers; pairs that do not fit are left out."""
    requests, found = [], []
    for sentence, parse in sentences:
        try:
            request = body(sentence, parse)
            [row], _ = rows(paraphraser, [request]), rows(paraphraser, [whole(request)])
        except (RequestError, SyntaxTreeError):
            continue
        tree = trees.normalize(trees.read_tree(parse))
        ids = Ids(
            row.tags,
            [SOS, *row.syntax, EOS],
            row.pieces,
            [*(paraphraser.vocabulary.syntax_ids[token] for token in trees.syntax_tokens(tree)), EOS],
            [*paraphraser.text_grammar.columns(row.pieces), EOS],
        )
        if all(
            len(answer) <= net.config.max_steps
            for answer, net in ((ids.parse, paraphraser.parse_generator), (ids.text, paraphraser.text_generator))
        ):
            requests.append(request)
            found.append(ids)
    return requests, found
