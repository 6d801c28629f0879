"""Words take the forms that the leaves of a parse ask for."""

import pytest

from handler.language.inflection import fitted


@pytest.mark.parametrize(
    "words, tags, leaves, expected",
    [
        ("he condemned it", "PRP VBD PRP", "PRP VBZ PRP", "he condemns it"),
        ("the dog barks", "DT NN VBZ", "DT NNS VBP", "the dogs bark"),
        ("she is tall", "PRP VBZ JJ", "PRP VBZ JJR", "she is taller"),
        ("the dogs were bitten", "DT NNS VBD VBN", "DT NN VBD", "the dog were bitten"),  # `were` has the leaf of the VBD
        ("he was seen", "PRP VBD VBN", "PRP VBZ VBG", "he was seeing"),  # and is left as it is by a VBZ
    ],
)
def test_a_word_left_over_takes_a_leaf_of_its_family(words, tags, leaves, expected):
    made = fitted(words.split(), tags.split(), leaves.split(), lambda form: True)
    assert made is not None and " ".join(word for word, _ in made) == expected


def test_an_auxiliary_left_over_has_a_leaf_before_other_verbs():
    assert fitted(["condemned", "was"], ["VBN", "VBD"], ["VBZ"], lambda form: True) is None  # `was` is left as it is, too


def test_nothing_changes_where_words_fit_or_the_form_is_unknown():
    assert fitted(["it", "rains"], ["PRP", "VBZ"], ["PRP", "VBZ"], lambda form: True) is None
    assert fitted(["tall"], ["JJ"], ["JJR"], lambda form: False) is None
