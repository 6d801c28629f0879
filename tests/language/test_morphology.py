"""Lemmas and forms: the tables, each rule, and both directions against each other."""

import pytest

from handler.language.morphology import COMPARATIVES, IRREGULAR_NOUNS, inflect, lemma

LEMMAS = [  # word, tag, lemma: at least one a rule
    ("bit", "VBD", "bite"),
    ("bitten", "VBN", "bite"),
    ("saw", "VBD", "see"),
    ("found", "VBN", "find"),
    ("lay", "VBD", "lie"),
    ("laid", "VBD", "lay"),
    ("hoping", "VBG", "hope"),
    ("hopping", "VBG", "hop"),
    ("riding", "VBG", "ride"),
    ("sitting", "VBG", "sit"),
    ("calling", "VBG", "call"),
    ("passed", "VBD", "pass"),
    ("tried", "VBD", "try"),
    ("died", "VBD", "die"),
    ("dying", "VBG", "die"),
    ("playing", "VBG", "play"),
    ("created", "VBN", "create"),
    ("waited", "VBD", "wait"),
    ("visited", "VBD", "visit"),
    ("invited", "VBD", "invite"),
    ("argued", "VBD", "argue"),
    ("changing", "VBG", "change"),
    ("singing", "VBG", "sing"),
    ("settled", "VBD", "settle"),
    ("admitted", "VBD", "admit"),
    ("preparing", "VBG", "prepare"),
    ("appearing", "VBG", "appear"),
    ("focused", "VBD", "focus"),
    ("using", "VBG", "use"),
    ("sees", "VBZ", "see"),
    ("goes", "VBZ", "go"),
    ("watches", "VBZ", "watch"),
    ("carries", "VBZ", "carry"),
    ("lies", "VBZ", "lie"),
    ("is", "VBZ", "be"),
    ("'re", "VBP", "be"),
    ("'ve", "VBP", "have"),
    ("'d", "MD", "would"),
    ("'d", "VBD", "have"),
    ("ca", "MD", "can"),
    ("wo", "MD", "will"),
    ("n't", "RB", "not"),
    ("him", "PRP", "he"),
    ("them", "PRP", "they"),
    ("me", "PRP", "i"),
    ("whom", "WP", "who"),
    ("children", "NNS", "child"),
    ("wives", "NNS", "wife"),
    ("cities", "NNS", "city"),
    ("boxes", "NNS", "box"),
    ("houses", "NNS", "house"),
    ("buses", "NNS", "bus"),
    ("policemen", "NNS", "policeman"),
    ("tomatoes", "NNS", "tomato"),
    ("shoes", "NNS", "shoe"),
    ("physics", "NNS", "physics"),
    ("bigger", "JJR", "big"),
    ("nicer", "JJR", "nice"),
    ("happiest", "JJS", "happy"),
    ("better", "JJR", "good"),
    ("taller", "JJR", "tall"),
    ("London", "NNP", "london"),
    ("", "NN", ""),
]
FORMS = [  # lemma, tag, form
    ("bite", "VBD", "bit"),
    ("bite", "VBN", "bitten"),
    ("bite", "VBG", "biting"),
    ("bite", "VBZ", "bites"),
    ("bite", "VB", "bite"),
    ("stop", "VBD", "stopped"),
    ("visit", "VBG", "visiting"),
    ("prefer", "VBD", "preferred"),
    ("open", "VBD", "opened"),
    ("try", "VBZ", "tries"),
    ("try", "VBD", "tried"),
    ("play", "VBD", "played"),
    ("tie", "VBG", "tying"),
    ("see", "VBG", "seeing"),
    ("watch", "VBZ", "watches"),
    ("do", "VBZ", "does"),
    ("go", "VBZ", "goes"),
    ("have", "VBZ", "has"),
    ("have", "VBN", "had"),
    ("be", "VBZ", "is"),
    ("be", "VBP", "are"),
    ("be", "VBD", "was"),
    ("be", "VBN", "been"),
    ("fix", "VBD", "fixed"),
    ("quit", "VBG", "quitting"),
    ("child", "NNS", "children"),
    ("city", "NNS", "cities"),
    ("box", "NNS", "boxes"),
    ("woman", "NNS", "women"),
    ("human", "NNS", "humans"),
    ("big", "JJR", "bigger"),
    ("nice", "JJS", "nicest"),
    ("happy", "JJR", "happier"),
    ("good", "JJS", "best"),
    ("dog", "NN", "dog"),
]


@pytest.mark.parametrize(("word", "tag", "expected"), LEMMAS)
def test_lemma(word, tag, expected):
    assert lemma(word, tag) == expected


@pytest.mark.parametrize(("word", "tag", "expected"), FORMS)
def test_form(word, tag, expected):
    assert inflect(word, tag) == expected


def test_capitals_do_not_matter():
    assert lemma("Wives", "NNS") == lemma("wives", "NNS") == "wife"
    assert inflect("Bite", "VBD") == "bit"


VERBS = """accept act add agree answer argue arrive bake bark beg begin bite borrow break bring build buy call carry catch change choose
clap climb close come cook count create cross cry cut dance decide deny die dig divide draw drink drive drop eat enjoy explain fail fall
feed feel fill find fix fly follow forget freeze give go grow hang hate hear help hide hit hold hope hug hurt invite join judge jump
keep kick kiss know laugh learn leave lend lie like listen live look lose love make marry meet mix move need notice offer open paint
pass pay permit pick plan play prefer promise prove pull push put raise reach read refer remember repair ride ring rise run save say see
sell send shake share shine shoot show shut sing sit sleep smile speak spend stand stay steal stop study swim take talk teach tell thank
think throw tie touch travel treat trust try turn understand use visit wait wake walk want wash waste watch wear win wish work worry
write yell""".split()


@pytest.mark.parametrize("tag", ["VBD", "VBN", "VBG", "VBZ"])
def test_forms_lead_back_to_the_lemma(tag):
    assert [word for word in VERBS if lemma(inflect(word, tag), tag) != word] == []


def test_nouns_lead_back():
    nouns = [noun for noun in IRREGULAR_NOUNS if noun not in ("axis", "basis")]
    nouns += "dog farm church dish day key baby story glass kiss".split()
    assert [noun for noun in nouns if lemma(inflect(noun, "NNS"), "NNS") != noun] == []


def test_adjectives_lead_back():
    adjectives = [word for word in COMPARATIVES if word not in ("well", "badly", "much", "many", "little", "less", "far")]
    adjectives += "big small nice happy tall wide thin hot young long simple".split()
    for tag in ("JJR", "JJS"):
        assert [word for word in adjectives if lemma(inflect(word, tag), tag) != word] == []
