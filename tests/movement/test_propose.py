"""Proposals: a golden sentence for each rule, and what must hold for all of many trees."""

import random

import pytest

from handler.language.morphology import lemma
from handler.language.relations import CONTENT
from handler.language.trees import Tree, read_tree, template_of, words
from handler.movement.agreement import person
from handler.movement.clauses import copula_at, folded, read_clause, without
from handler.movement.propose import MAX_VARIANTS, Mover, lower_first, matches, propose, tidied
from handler.movement.sources import clauses_of
from handler.movement.voice import activated, passivated
from handler.wire.request import CATALOGUE

TEMPLATES = {name: read_tree(text) for name, text in CATALOGUE.items()}

# Invented sentences, under names that the table below uses.
SOURCES = {
    name: "(ROOT " + text + ")"
    for name, text in {
        "bread": "(S (NP (DT The) (NN baker)) (VP (VBD burned) (NP (DT the) (NN bread)) (PP (IN on) (NP (NNP Monday)))) (. .))",
        "walk": "(S (NP (DT A) (NN woman)) (VP (VBZ is) (VP (VBG feeding) (NP (NNS ducks)) (PP (IN in) (NP (DT the) (NN park))))) (. .))",
        "rain": "(S (NP (PRP We)) (VP (MD will) (VP (VB stay) (ADVP (RB inside)) (SBAR (IN if) (S (NP (PRP it)) (VP (VBZ rains)))))) (. .))",
        "late": "(S (NP (PRP He)) (VP (VBD left) (ADVP (RB early)) (SBAR (IN because) (S (NP (PRP he)) (VP (VBD felt) (ADJP (JJ ill)))))) (. .))",
        "though": "(S (SBAR (IN Although) (S (NP (PRP it)) (VP (VBD snowed)))) (, ,) (NP (DT the) (NN train)) (VP (VBD arrived)) (. .))",
        "secret": "(S (NP (PRP She)) (VP (ADVP (RB quietly)) (VBD closed) (NP (DT the) (NN door))) (. .))",
        "not": "(S (NP (PRP He)) (VP (VBZ does) (RB n't) (VP (VB like) (NP (NN tea)))) (. .))",
        "cannot": "(S (NP (PRP You)) (VP (MD ca) (RB n't) (VP (VB open) (NP (DT the) (NN box)))) (. .))",
        "clitic": "(S (NP (PRP She)) (VP (VBZ 's) (VP (VBN gone) (PP (TO to) (NP (NNP Rome))))) (. .))",
        "there": "(S (NP (EX There)) (VP (VBZ is) (NP (NP (DT a) (NN lion)) (PP (IN in) (NP (DT the) (NN garden))))) (. .))",
        "can": "(SQ (MD Can) (NP (PRP you)) (VP (VB lend) (NP (PRP me)) (NP (DT a) (NN pen))) (. ?))",
        "did": "(SQ (VBD Did) (NP (NNP Ann)) (VP (VB find) (NP (DT any) (NNS mushrooms))) (. ?))",
        "is": "(SQ (VBZ Is) (NP (PRP$ your) (NN sister)) (NP (DT a) (NN nurse)) (. ?))",
        "what": "(SBARQ (WHNP (WP What)) (SQ (VBD did) (NP (DT the) (NN cook)) (VP (VB drop))) (. ?))",
        "where": "(SBARQ (WHADVP (WRB Where)) (SQ (VBP are) (NP (DT the) (NNS keys))) (. ?))",
        "open": "(S (VP (VB Open) (NP (DT the) (NN window))) (. .))",
        "dont": "(S (VP (VB Do) (RB n't) (VP (VB touch) (NP (DT the) (NN stove)))) (. .))",
        "lets": "(S (VP (VB Let) (S (NP (PRP 's)) (VP (VB paint) (NP (DT the) (NN fence))))) (. .))",
        "joined": "(S (NP (DT The) (NN boy)) (VP (VP (VBD dropped) (NP (PRP$ his) (NN cup))) (CC and) (VP (VBD cried))) (. .))",
        "butt": "(S (S (NP (DT The) (NN soup)) (VP (VBZ is) (ADJP (JJ cold)))) (, ,) (CC but) (S (NP (PRP I)) (VP (VBP like)"
        " (NP (PRP it)))) (. .))",
        "same": "(S (S (NP (NNP Ann)) (VP (VBD came))) (CC and) (S (NP (PRP she)) (VP (VBD sang))) (. .))",
        "objects": "(S (NP (NNP Ann)) (VP (VBD sold) (NP (NP (NNS plums)) (CC and) (NP (NNS pears)))) (. .))",
        "subjects": "(S (NP (NP (NNP Ann)) (CC and) (NP (NNP Bo))) (VP (VBD laughed)) (. .))",
        "relative": "(S (NP (NP (DT The) (NN man)) (SBAR (WHNP (WP who)) (S (VP (VBD called))))) (VP (VBZ is) (ADJP (JJ rich))) (. .))",
        "thinks": "(S (NP (NNP Ann)) (VP (VBZ thinks) (SBAR (IN that) (S (NP (DT the) (NN road)) (VP (VBZ is) (ADJP (JJ closed)))))) (. .))",
        "passive": "(S (NP (PRP They)) (VP (VBD were) (VP (VBN seen) (PP (IN by) (NP (DT the) (NN guard))) (PP (IN at) (NP (NN noon))))) (. .))",
        "gives": "(S (NP (PRP I)) (VP (VBP know) (NP (PRP him))) (. .))",
        "farm": "(S (NP (DT The) (NN man)) (VP (VBZ is) (PP (IN at) (NP (DT a) (NN farm)))) (. .))",
        "caption": "(NP (NP (DT A) (NN girl)) (VP (VBG riding) (NP (DT a) (NN pony)) (PP (IN near) (NP (DT a) (NN lake)))) (. .))",
        "movie": "(NP (DT A) (JJ cold) (NN room))",
        "lead": "(S (INTJ (UH Well)) (, ,) (NP (PRP I)) (VP (VBD slept)) (. .))",
        "between": "(S (NP (DT The) (NN train)) (ADVP (RB finally)) (VP (VBD stopped)) (. !))",
        "read": "(S (S (VP (VBG Seeing) (NP (DT the) (NN dog)))) (, ,) (NP (DT the) (NN cat)) (VP (VBD ran)) (. .))",
        "said": "(SINV (S (NP (PRP It)) (VP (VBZ is) (ADJP (JJ late)))) (, ,) (VP (VBD said)) (NP (NNP Ann)) (. .))",
        "sit": "(S (NP (DT A) (NN man)) (VP (VBD sat) (PP (IN on) (NP (DT a) (NN bench))) (, ,) (S (VP (VBG eating) (NP (NN soup))))) (. .))",
        "young": "(S (NP (DT A) (JJ young) (NN woman)) (VP (VBZ sings)) (. .))",
        "when": "(S (SBAR (WHADVP (WRB When)) (S (NP (DT the) (NN bell)) (VP (VBD rang)))) (, ,) (NP (DT the) (NNS children))"
        " (VP (VBD left)) (. .))",
        "so": "(S (NP (PRP I)) (VP (VBD ran) (SBAR (IN so) (S (NP (PRP I)) (VP (VBD caught) (NP (DT the) (NN bus)))))) (. .))",
        "why": "(SBARQ (WHADVP (WRB Why)) (SQ (VBP do) (RB n't) (NP (PRP you)) (VP (VB sit) (ADVP (RB down)))) (. ?))",
        "misread": "(NP (NP (DT A) (NN cat) (NNS sleeps)) (PP (IN on) (NP (DT a) (NN roof))) (. .))",
        "tag": "(S (NP (PRP You)) (VP (VBD won)) (, ,) (SQ (VBD did) (RB n't) (NP (PRP you))) (. ?))",
        "order": "(S (NP (PRP She)) (VP (VBD came) (ADVP (RB here)) (S (VP (TO to) (VP (VB rest))))) (. .))",
        "mixed": "(S (NP (PRP He)) (VP (VP (VBZ is) (ADJP (JJ shy))) (CC but) (VP (VBZ sings))) (. .))",
        "not_so": "(S (NP (PRP I)) (VP (VBD did) (RB n't) (VP (VB know) (SBAR (S (NP (PRP he)) (VP (VBD left)))))) (. .))",
        "lot": "(S (NP (NP (DT A) (NN group)) (PP (IN of) (NP (NNS boys)))) (VP (VBP are) (VP (VBG running))) (. .))",
        "elderly": "(S (NP (DT An) (JJ old) (NN nurse)) (VP (VBD smiled)) (. .))",
        "wants": "(S (NP (PRP She)) (VP (VBZ wants) (S (VP (TO to) (VP (VB leave) (PP (IN on) (NP (NNP Friday))))))) (. .))",
        "ought": "(S (NP (PRP You)) (VP (MD ought) (S (VP (TO to) (VP (VB rest))))) (. .))",
        "participle": "(S (NP (DT The) (NN cook)) (VP (VBN peeled) (NP (NNS onions))) (. .))",
        "named": "(SQ (NNP Does) (NP (NNP Bo)) (VP (VB swim)) (. ?))",
        "may": "(S (NP (NNP May)) (NP (PRP I)) (VP (VBP come) (ADVP (RB in))) (. ?))",
        "wrapped": "(SQ (VP (VB Are) (S (NP (PRP you)) (VP (VBG going) (ADVP (RB home))))) (. ?))",
        "letus": "(S (NP (NNP Let) (POS 's)) (VP (VBP dance)) (. .))",
        "tagged": "(SQ (S (NP (PRP You)) (VP (VBP are) (ADJP (JJ late)))) (, ,) (SQ (VBP are) (RB n't) (NP (PRP you))) (. ?))",
        "piece": "(FRAG (NP (DT A) (NN girl)) (S (VP (VBG painting) (NP (DT a) (NN wall)))))",
        "both": "(S (NP (PRP They)) (DT both) (VP (VBD swam)) (. .))",
        "weeks": "(S (NP (PRP It)) (VP (VBD rained) (PP (IN for) (NP (CD two) (NNS weeks)))) (. .))",
        "inner_tag": "(S (NP (PRP She)) (VP (VBZ is) (NP (DT a) (NN singer)) (, ,) (SQ (VBZ is) (RB n't) (NP (PRP she)))) (. ?))",
        "gift": "(S (NP (PRP He)) (VP (VBD gave) (NP (PRP her)) (NP (DT a) (NN ring)) (PP (IN in) (NP (NNP May)))) (. .))",
        "gift_to": "(S (NP (NNP Ann)) (VP (VBD sold) (NP (DT the) (NN boat)) (PP (TO to) (NP (PRP him)))) (. .))",
        "lamp": "(S (NP (PRP She)) (VP (VBD turned) (PRT (RP off)) (NP (DT the) (NN lamp))) (. .))",
        "ends": "(S (NP (PRP She)) (VP (VBD closed) (NP (DT the) (NN door)) (ADVP (RB quietly))) (. .))",
        "rains": "(S (NP (PRP It)) (VP (VBZ 's) (VP (VBG raining))) (. .))",
        "storm": "(S (NP (DT The) (NN race)) (VP (VBD was) (VP (VBN stopped) (PP (IN because) (IN of) (NP (DT the) (NN storm))))) (. .))",
        "snow": "(S (NP (PRP We)) (VP (VBD stayed) (PP (RB because) (IN of) (NP (DT the) (NN snow)))) (. .))",
        "reports": "(S (NP (DT The) (NN mayor)) (VP (VBD announced) (SBAR (IN that) (S (NP (DT the) (NN pool)) (VP (MD will)"
        " (VP (VB close)))))) (. .))",
        "new": "(S (NP (DT The) (JJ new) (NN phone)) (VP (VBD rang)) (. .))",
        "sings": "(S (NP (DT A) (NN nurse)) (VP (VBD sang)) (. .))",
        "finds": "(S (NP (NNP Ann)) (VP (VBD found) (NP (DT a) (NN key)) (PP (IN in) (NP (DT the) (NN grass)))) (. .))",
        "afraid": "(S (NP (JJ Many) (NNS children)) (VP (VBP are) (ADJP (JJ afraid) (PP (IN of) (NP (NNS dogs))))) (. .))",
        "room": "(S (NP (EX There)) (VP (VBP are) (NP (NNS people)) (PP (IN in) (NP (DT the) (NN room)))) (. .))",
        "lent": "(S (NP (NP (DT The) (NN book)) (SBAR (WHNP (WDT that)) (S (NP (PRP you)) (VP (VBD lent) (NP (PRP me))))))"
        " (VP (VBD was) (ADJP (JJ good))) (. .))",
        "both_did": "(S (NP (PRP He)) (ADVP (RB quickly)) (VP (VP (VBD sat)) (CC and) (VP (VBD ate))) (. .))",
        "used": "(S (NP (NNP Ann)) (VP (VBD used) (S (VP (TO to) (VP (VB sing))))) (. .))",
        "picnic": "(S (NP (PRP We)) (VP (MD will) (VP (VB have) (NP (NP (DT a) (NN picnic)) (NP (NN tomorrow))))) (. .))",
        "store": "(S (NP (PRP She)) (VP (VBD drove) (PP (PP (TO to) (NP (DT the) (NN store))) (NP (NN yesterday)))) (. .))",
        "taxes": "(S (NP (PRP They)) (VP (MD will) (VP (VB raise) (NP (NNS taxes)) (JJ next) (NN year))) (. .))",
        "friday": "(SQ (MD Can) (NP (PRP you)) (VP (VB send) (NP (PRP me)) (NP (NP (DT the) (NN report))"
        " (PP (IN before) (NP (NNP Friday))))) (. ?))",
        "tired": "(S (NP (PRP She)) (VP (VBZ is) (ADJP (JJ tired) (CC but) (JJ happy))) (. .))",
        "letgo": "(S (VP (NP (NNP Let) (POS 's)) (VP (VBP go) (NP (NN home)))) (. .))",
        "bet": "(S (NP (NNP Tom)) (VP (VBP bet) (PP (IN on) (NP (DT the) (NN horse)))) (. .))",
        "maybe": "(S (NP (PRP You)) (VP (MD may) (VP (VB pay) (ADVP (RB later)))) (. .))",
        "sold": "(S (NP (PRP$ My) (NN sister)) (VP (VBZ works) (PP (IN at) (NP (DT a) (NN bank)))) (. .))",
        "why_not": "(SBARQ (WHADVP (WRB Why)) (SQ (VBD did) (NP (PRP she)) (VP (VB leave))) (. ?))",
        "how_many": "(SBARQ (WHNP (WRB How) (JJ many) (NNS boats)) (SQ (VBD did) (NP (PRP he)) (VP (VB build))) (. ?))",
        "price": "(SBARQ (WHNP (WRB How) (JJ much)) (SQ (VBZ does) (NP (DT the) (NN lamp)) (VP (VB cost))) (. ?))",
        "hour": "(SBARQ (WHNP (WDT What) (NN time)) (SQ (VBZ does) (NP (DT the) (NN shop)) (VP (VB open))) (. ?))",
        "hours": "(S (NP (PRP They)) (VP (VBP have) (VP (VBN been) (VP (VBG waiting) (PP (IN for) (NP (IN over) (DT an) (NN hour))))))"
        " (. .))",
        "lives": "(S (NP (PRP She)) (VP (VBZ lives) (PP (IN in) (NP (NNP Rome))) (PP (IN with) (NP (PRP$ her) (NN aunt)))) (. .))",
        "told": "(S (NP (PRP She)) (VP (VBD told) (NP (PRP me)) (SBAR (IN that) (S (NP (DT the) (NN shop)) (VP (VBD was)"
        " (ADJP (JJ closed)))))) (. .))",
        "knows": "(S (NP (PRP I)) (VP (VBP know) (SBAR (IN that) (S (NP (PRP you)) (VP (VBP are) (ADJP (JJ busy)))))) (. .))",
        "nobody": "(S (NP (NN Nobody)) (VP (VBZ knows) (SBAR (WHNP (WP what)) (S (VP (VBD happened))))) (. .))",
        "wonders": "(S (NP (NNP Ann)) (VP (VBZ wonders) (SBAR (WHADVP (WRB how)) (S (NP (DT the) (NN cat)) (VP (VBD got) (PRT (RP in))))))"
        " (. .))",
        "too": "(S (NP (PRP I)) (VP (VBP am) (ADJP (RB too) (JJ tired) (S (VP (TO to) (VP (VB cook)))))) (. .))",
        "so_cold": "(S (NP (PRP It)) (VP (VBD was) (ADJP (RB so) (JJ cold) (SBAR (IN that) (S (NP (PRP we)) (VP (VBD left)))))) (. .))",
        "famous": "(S (NP (PRP He)) (VP (VBZ is) (NP (DT a) (JJ famous) (NN writer))) (. .))",
        "red": "(S (NP (NNP Ann)) (VP (VBD bought) (NP (DT a) (JJ red) (NN car))) (. .))",
        "quote": "(SINV (`` \") (NP (PRP I)) (VP (VBP am) (RB not) (ADJP (JJ hungry))) (, ,) ('' \") (VP (VBD said)) (NP (NNP Ann)) (. .))",
        "asked": "(SINV (`` \") (WHADVP (WRB Where)) (SQ (VBP are) (NP (PRP you)) (VP (VBG going))) (. ?) ('' \") (VP (VBD asked))"
        " (NP (NNP Bo)) (. .))",
        "closes": "(S (NP (PRP She)) (VP (VBD said) (, ,) (`` \") (S (NP (PRP I)) (VP (VBP am) (ADJP (JJ late))))) (. .) ('' \"))",
        "shouted": "(S (`` \") (VB Stop) (. !) ('' \") (NP (PRP he)) (VP (VBD shouted)) (. .))",
        "order_now": "(S (NP (NNP Let) (POS 's)) (VP (NN order) (NP (DT a) (NN pizza))) (. .))",
        "let_not": "(S (NNP Let) (S (NP (POS 's)) (RB not) (VP (VB wash) (NP (PRP it)))) (. .))",
        "honest": "(S (NNP Let) (S (POS 's) (VP (VB be) (ADJP (JJ honest)))) (. .))",
        "gossip": "(S (NP (CD Two) (NNS women)) (VP (NN gossip) (PP (IN on) (NP (DT a) (NN bench)))) (. .))",
        "flat": "(S (NP (DT A) (NN woman)) (VBG painting) (NP (DT a) (NN wall)) (. .))",
        "sliding": "(S (NP (DT A) (NN boy)) (VP (VBG sliding) (PP (IN on) (NP (NN ice)))) (. .))",
        "thanks": "(SBARQ (NP (NNS Thanks)) (, ,) (WHNP (WRB how) (RB much)) (SQ (VBZ is) (NP (PRP it))) (. ?))",
        "tell_me": "(S (ADVP (RB Can)) (NP (PRP you)) (VP (VBP tell) (NP (PRP me)) (NP (PRP$ their) (NN number))) (. .))",
        "failed": "(S (S (NP (DT The) (NN plan)) (VP (VBD was) (ADJP (JJ good)))) (CC but) (ADVP (RB then)) (NP (PRP it)) (VP (VBD failed))"
        " (. .))",
        "wait": "(SQ (S (NP (PRP I)) (VP (VBP know) (NP (PRP it)))) (, ,) (CC but) (SQ (MD could) (NP (PRP you)) (VP (VB wait)"
        " (ADVP (RBR longer)))) (. ?))",
        "role": "(S (NP (PRP He)) (VP (VBZ works) (PP (IN as) (NP (DT a) (NN cook))) (PP (IN at) (NP (DT a) (NN school)))) (. .))",
        "opinion": "(S (NP (PRP I)) (VP (VBP think) (SBAR (S (NP (PRP he)) (VP (VBD left))))) (. .))",
        "hope": "(S (NP (PRP I)) (VP (VBP hope) (SBAR (S (NP (PRP it)) (VP (VBZ snows))))) (. .))",
        "likely": "(S (NP (PRP It)) (VP (VBZ is) (ADJP (JJ likely)) (SBAR (IN that) (S (NP (PRP they)) (VP (MD will) (VP (VB win)))))) (. .))",
        "sure": "(S (NP (PRP I)) (VP (VBP 'm) (ADJP (JJ sure) (SBAR (S (NP (PRP he)) (VP (VBD came)))))) (. .))",
        "adores": "(S (NP (PRP I)) (VP (VBP love) (NP (PRP it))) (. .))",
        "forget": "(S (VP (VB Do) (RB n't) (VP (VB forget) (S (VP (TO to) (VP (VB call)))))) (. .))",
        "home": "(S (NP (PRP I)) (VP (MD will) (VP (VB be) (ADVP (RB home)) (PP (IN at) (NP (NN noon))))) (. .))",
        "not_open": "(S (NP (PRP I)) (VP (MD ca) (RB n't) (VP (VB open) (NP (PRP it)))) (. .))",
        "at_six": "(S (NP (PRP It)) (VP (VBZ opens) (PP (IN at) (NP (CD 6)))) (. .))",
        "wed": "(S (NP (PRP They)) (VP (VBD wed) (PP (IN in) (NP (CD 2019)))) (. .))",
        "by_day": "(S (NP (PRP We)) (VP (MD will) (VP (VB leave) (PP (IN by) (NP (NNP Monday))))) (. .))",
        "nurse": "(S (NP (PRP She)) (VP (VBD worked) (PP (IN as) (NP (NP (DT a) (NN nurse)) (PP (IN in) (NP (NNP Rome)))))) (. .))",
        "not_think": "(S (NP (PRP I)) (VP (VBP do) (RB n't) (VP (VB think) (SBAR (S (NP (PRP he)) (VP (VBZ sleeps)))))) (. .))",
        "not_coming": "(S (NP (PRP I)) (VP (VBP do) (RB n't) (VP (VB think) (SBAR (S (NP (PRP he)) (VP (VBZ 's) (ADVP (RB here))))))) (. .))",
        "single": "(S (NP (DT The) (JJ first) (JJ single)) (VP (VBD was) (ADJP (JJ good))) (. .))",
        "weather": "(SBARQ (WHNP (WP What)) (SQ (VBZ 's) (NP (NP (DT the) (NN weather)) (PP (IN like) (PP (IN in) (NP (NNP Rome)))))) (. ?))",
        "peel": "(S (VP (VP (VB Peel) (NP (PRP it))) (CC and) (VP (VBD cut) (NP (PRP it)))) (. .))",
        "skiing": "(S (NP (PRP He)) (VP (VBD fell) (PP (IN while) (S (VP (VBG skiing))))) (. .))",
        "none": "(S (NP (EX There)) (VP (VBZ is) (RB n't) (NP (NN tea))) (. .))",
        "ask": "(S (NP (PRP You)) (VP (MD must) (VP (VB ask) (PP (IN at) (NP (NN noon))))) (. .))",
        "tea": "(S (NP (PRP I)) (VP (MD 'd) (VP (VB like) (NP (DT some) (NN tea)))) (. .))",
        "to_rest": "(S (NP (PRP I)) (VP (MD would) (VP (VB like) (S (VP (TO to) (VP (VB rest)))))) (. .))",
        "leave": "(SQ (MD Can) (NP (PRP I)) (VP (VB leave)) (. ?))",
        "deal": "(S (NP (PRP He)) (VP (VBZ earns) (NP (DT a) (JJ great) (NN deal))) (. .))",
        "council": "(S (NP (NP (DT A) (NNP Council)) (VP (VBN made) (PP (IN of) (NP (CD ten) (NNS men))))) (VP (VBZ rules)"
        " (NP (PRP it))) (. .))",
        "today": "(S (NP (PRP It)) (VP (VBD rained) (NP (JJ last) (NN week))) (. .))",
    }.items()
}

GOLDEN = [  # source, template, sentence, a move that it took; the first proposal unless marked with *
    ("bread", "statement", "The baker burned the bread on Monday .", None),
    ("bread", "preposition_first", "on Monday , the baker burned the bread .", "front_pp"),
    ("bread", "adverb_first", "on Monday , the baker burned the bread .", "wrap"),
    ("bread", "yes_no_question", "did the baker burn the bread on Monday ?", "auxiliary_as_modal"),
    ("bread", "how_question", "how did the baker burn the bread on Monday ?", "ask_how"),
    ("bread", "what_question", "which bread did the baker burn on Monday ?", "ask_which_object"),
    ("bread", "*what_question", "which baker burned the bread on Monday ?", "ask_which_subject"),
    ("bread", "*what_question", "what did the baker burn on Monday ?", "ask_object"),
    ("bread", "*what_question", "who burned the bread on Monday ?", "ask_subject"),
    ("bread", "*what_question", "what if the baker burned the bread on Monday ?", "what_if"),
    ("bread", "*statement", "the bread was burned by the baker on Monday .", "passive"),
    ("bread", "*preposition_first", "on Monday , the bread was burned by the baker .", "passive"),
    ("bread", "noun_phrase", "The baker who burned the bread on Monday .", "relative"),
    ("bread", "command", "note that the baker burned the bread on Monday .", "note_that"),
    ("bread", "two_clauses", "The baker burned the bread , and the baker did so on Monday .", "do_so"),
    ("walk", "noun_phrase", "A woman feeding ducks in the park .", "nominal"),
    ("walk", "two_clauses", "A woman is feeding ducks , and she is in the park .", "place"),
    ("walk", "command", "look at a woman feeding ducks in the park .", "look_at"),
    ("walk", "*command", "let a woman feed ducks in the park .", "let_other"),
    ("there", "command", "look at a lion in the garden .", "look_at"),
    ("young", "command", "note that a young woman sings .", "note_that"),
    ("walk", "how_question", "why is a woman feeding ducks in the park ?", "ask_why"),
    ("walk", "clause_first", "while in the park , a woman is feeding ducks .", "while_in"),
    ("walk", "adverb_first", "in the park , a woman is feeding ducks .", "wrap"),
    ("rain", "clause_first", "if it rains , we will stay inside .", "front_sbar"),
    ("rain", "yes_no_question", "will we stay inside if it rains ?", "invert"),
    ("rain", "two_clauses", "it may rain , and then we will stay inside .", "may_be"),
    ("rain", "command", "let us stay inside if it rains .", "let"),
    ("late", "two_clauses", "he felt ill , so he left early .", "because_so"),
    ("though", "statement", "the train arrived although it snowed .", "unfront"),
    ("though", "two_clauses", "it snowed , but the train arrived .", "although_but"),
    ("secret", "adverb_first", "quietly , she closed the door .", "front_advp"),
    ("not", "yes_no_question", "does he not like tea ?", "invert"),
    ("not", "noun_phrase", "the fact of his not liking tea .", "fact_of"),
    ("not", "*noun_phrase", "the thought of him not liking tea .", "thought_of"),
    ("clitic", "noun_phrase", "her having gone to Rome .", "owned"),
    ("wants", "*noun_phrase", "the fact of her wanting to leave on Friday .", "fact_of"),
    ("can", "noun_phrase", "the question of whether you can lend me a pen .", "question_of"),
    ("open", "noun_phrase", "the task of opening the window .", "task_of"),
    ("dont", "noun_phrase", "the importance of not touching the stove .", "task_of"),
    ("lets", "noun_phrase", "the idea of painting the fence .", "task_of"),
    ("rain", "noun_phrase", "the prospect of us staying inside if it rains .", "prospect_of"),
    ("sold", "noun_phrase", "My sister 's working at a bank .", "owned"),
    ("cannot", "command", "do n't open the box .", "drop_subject"),
    ("cannot", "yes_no_question", "can you not open the box ?", "invert"),
    ("clitic", "yes_no_question", "has she gone to Rome ?", "invert"),
    ("there", "yes_no_question", "is there a lion in the garden ?", "invert"),
    ("there", "noun_phrase", "a lion in the garden .", "nominal"),
    ("there", "two_clauses", "There is a lion , and the lion is in the garden .", "place"),
    ("can", "statement", "you can lend me a pen .", "undo_question"),
    ("can", "command", "lend me a pen .", "drop_subject"),
    ("can", "yes_no_question", "Can you lend me a pen ?", None),
    ("did", "statement", "Ann found some mushrooms .", "undo_question"),
    ("did", "command", "tell me if Ann found some mushrooms .", "tell_me_if"),
    ("did", "two_clauses", "Ann found some mushrooms , or did she ?", "or_not"),
    ("is", "statement", "your sister is a nurse .", "undo_question"),
    ("what", "statement", "I wonder what the cook dropped .", "wonder"),
    ("what", "yes_no_question", "can you tell me what the cook dropped ?", "tell_me"),
    ("what", "command", "tell me what the cook dropped .", "tell_me"),
    ("what", "how_question", "how about telling me what the cook dropped ?", "how_about"),
    ("what", "*how_question", "how do you know what the cook dropped ?", "do_you_know"),
    ("where", "what_question", "what is the place where the keys are ?", "reword"),
    ("why_not", "what_question", "what is the reason she left ?", "reword"),
    ("how_many", "*what_question", "what number of boats did he build ?", "reword"),
    ("price", "*what_question", "what does the lamp cost ?", "reword"),
    ("hour", "how_question", "when does the shop open ?", "reword"),
    ("what", "noun_phrase", "the question of what the cook dropped .", "question_of"),
    ("where", "command", "tell me where the keys are .", "tell_me"),
    ("where", "two_clauses", "I do n't know , so tell me where the keys are .", "filler"),
    ("open", "statement", "you should open the window .", "should"),
    ("open", "yes_no_question", "can you open the window ?", "should"),
    ("open", "two_clauses", "Open the window , and thank you .", "filler"),
    ("dont", "statement", "you should not touch the stove .", "should"),
    ("lets", "statement", "we should paint the fence .", "should"),
    ("lets", "yes_no_question", "shall we paint the fence ?", "should"),
    ("joined", "two_clauses", "The boy dropped his cup , and he cried .", "split_verbs"),
    ("joined", "yes_no_question", "did the boy drop his cup and cry ?", "invert"),
    ("butt", "clause_first", "although the soup is cold , I like it .", "subordinate"),
    ("butt", "statement", "I like it although the soup is cold .", "unfront"),
    ("butt", "two_clauses", "The soup is cold , but I like it .", None),
    ("same", "statement", "Ann came and sang .", "merge"),
    ("objects", "two_clauses", "Ann sold plums , and she sold pears .", "split_objects"),
    ("subjects", "two_clauses", "Ann laughed , and so did Bo .", "split_subjects"),
    ("relative", "two_clauses", "The man called , and he is rich .", "relative"),
    ("thinks", "two_clauses", "the road is closed , or so Ann thinks .", "reported"),
    ("thinks", "clause_first", "the road is closed , Ann thinks .", "front_sbar"),
    ("passive", "*statement", "the guard saw them at noon .", "active"),
    ("passive", "preposition_first", "at noon , they were seen by the guard .", "front_pp"),
    ("gives", "*statement", "he is known by me .", "passive"),
    ("farm", "noun_phrase", "The man at a farm .", "nominal"),
    ("farm", "yes_no_question", "is the man at a farm ?", "invert"),
    ("farm", "preposition_first", "as for the man , he is at a farm .", "as_for"),
    ("not", "preposition_first", "in fact , he does n't like tea .", "filler"),
    ("sold", "preposition_first", "as for my sister , she works at a bank .", "as_for"),
    ("young", "preposition_first", "in fact , a young woman sings .", "filler"),
    ("can", "preposition_first", "as a favor , you can lend me a pen .", "filler"),
    ("can", "clause_first", "if possible , you can lend me a pen .", "filler"),
    ("did", "clause_first", "if I am right , Ann found some mushrooms .", "filler"),
    ("did", "preposition_first", "to my knowledge , Ann found some mushrooms .", "filler"),
    ("open", "adverb_first", "ideally , you should open the window .", "filler"),
    ("lets", "two_clauses", "we should paint the fence , or so I think .", "filler"),
    ("rain", "adverb_first", "if it rains , we will stay inside .", "wrap"),
    ("rain", "preposition_first", "if it rains , we will stay inside .", "wrap"),
    ("today", "preposition_first", "last week , it rained .", "wrap"),
    ("hours", "preposition_first", "for over an hour , they have been waiting .", "front_pp"),
    ("lives", "preposition_first", "in Rome , she lives with her aunt .", "front_pp"),
    ("told", "clause_first", "as she told me , the shop was closed .", "as_said"),
    ("told", "two_clauses", "the shop was closed , and she told me so .", "told_so"),
    ("knows", "two_clauses", "you are busy , and I know it .", "told_so"),
    ("nobody", "two_clauses", "something happened , but nobody knows what .", "unknown"),
    ("wonders", "two_clauses", "the cat got in somehow , but Ann wonders how .", "unknown"),
    ("too", "two_clauses", "I am very tired , so I can not cook .", "too"),
    ("so_cold", "two_clauses", "It was very cold , so we left .", "too"),
    ("sold", "two_clauses", "I have a sister , and she works at a bank .", "had"),
    ("famous", "two_clauses", "He is a writer , and he is a famous one .", "quality"),
    ("red", "two_clauses", "Ann bought a car , and it was red .", "quality"),
    ("hours", "two_clauses", "They have been waiting , and they have been doing so for over an hour .", "do_so"),
    ("too", "clause_first", "because I am too tired , I can not cook .", "too"),
    ("so_cold", "clause_first", "because it was so cold , we left .", "too"),
    ("role", "two_clauses", "He is a cook , and he works at a school .", "role"),
    ("thinks", "preposition_first", "according to Ann , the road is closed .", "stance"),
    ("opinion", "preposition_first", "in my opinion , he left .", "stance"),
    ("hope", "adverb_first", "hopefully , it snows .", "stance"),
    ("likely", "adverb_first", "probably , they will win .", "stance"),
    ("sure", "adverb_first", "certainly , he came .", "stance"),
    ("not_so", "preposition_first", "in fact , I did n't know he left .", "filler"),
    ("adores", "yes_no_question", "did you know that I love it ?", "did_you_know"),
    ("adores", "*yes_no_question", "do I love it ?", "ask_oneself"),
    ("gives", "yes_no_question", "do I know him ?", "invert"),
    ("adores", "two_clauses", "I love it , and I mean it .", "filler"),
    ("forget", "statement", "you should remember to call .", "should"),
    ("home", "preposition_first", "at noon , I will be home .", "front_pp"),
    ("not_open", "noun_phrase", "the fact of my not being able to open it .", "fact_of"),
    ("can", "*how_question", "how about lending me a pen ?", "suggest"),
    ("at_six", "what_question", "what time does it open ?", "ask_time"),
    ("wed", "*what_question", "what year did they wed in ?", "ask_time"),
    ("by_day", "*what_question", "what day will we leave by ?", "ask_time"),
    ("nurse", "two_clauses", "She was a nurse , and she worked in Rome .", "role"),
    ("peel", "*two_clauses", "peel it , and cut it .", "split_verbs"),
    ("single", "preposition_first", "in fact , the first single was good .", "filler"),
    ("weather", "command", "tell me what the weather is like in Rome .", "tell_me"),
    ("peel", "statement", "you should peel it and cut it .", "should"),
    ("skiing", "clause_first", "while skiing , he fell .", "front_sbar"),
    ("skiing", "preposition_first", "while skiing , he fell .", "front_pp"),
    ("not_think", "*statement", "I think he does n't sleep .", "lower_negation"),
    ("not_think", "preposition_first", "in my opinion , he does n't sleep .", "stance"),
    ("not_coming", "*statement", "I think he is not here .", "lower_negation"),
    ("none", "noun_phrase", "the fact of there not being tea .", "fact_of"),
    ("ask", "noun_phrase", "the need for you to ask at noon .", "need_for"),
    ("peel", "how_question", "how about peeling it and cutting it ?", "suggest"),
    ("peel", "noun_phrase", "the task of peeling it and cutting it .", "task_of"),
    ("tea", "what_question", "what about giving me some tea ?", "wish"),
    ("to_rest", "how_question", "how about letting me rest ?", "wish"),
    ("tea", "command", "give me some tea .", "wish"),
    ("tea", "yes_no_question", "could I have some tea ?", "wish"),
    ("to_rest", "command", "let me rest .", "wish"),
    ("to_rest", "yes_no_question", "could I rest ?", "wish"),
    ("leave", "clause_first", "if possible , I can leave .", "filler"),
    ("deal", "two_clauses", "He earns a great deal , and that is true .", "filler"),
    ("council", "*two_clauses", "A Council is made of ten men , and the Council rules it .", "participle"),
    ("quote", "statement", 'Ann said , " I am not hungry " .', "repair"),
    ("quote", "yes_no_question", 'did Ann say , " I am not hungry " ?', "invert"),
    ("asked", "statement", 'Bo asked , " Where are you going ? " .', "repair"),
    ("closes", "yes_no_question", 'did she say , " I am late " ?', "invert"),
    ("shouted", "statement", 'he shouted , " Stop " .', "repair"),
    ("order_now", "yes_no_question", "shall we order a pizza ?", "should"),
    ("let_not", "statement", "we should not wash it .", "should"),
    ("honest", "how_question", "how about being honest ?", "suggest"),
    ("gossip", "yes_no_question", "do two women gossip on a bench ?", "invert"),
    ("flat", "statement", "A woman is painting a wall .", "complete"),
    ("sliding", "*statement", "A boy is sliding on ice .", "complete"),
    ("thanks", "statement", "I wonder how much it is .", "wonder"),
    ("tell_me", "command", "tell me their number .", "drop_subject"),
    ("failed", "clause_first", "although the plan was good , it then failed .", "subordinate"),
    ("wait", "yes_no_question", "could you wait longer although I know it ?", "invert"),
    ("farm", "clause_first", "as it happens , the man is at a farm .", "filler"),
    ("farm", "adverb_first", "indeed , the man is at a farm .", "filler"),
    ("caption", "statement", "A girl is riding a pony near a lake .", "complete"),
    ("caption", "preposition_first", "near a lake , a girl is riding a pony .", "front_pp"),
    ("caption", "noun_phrase", "A girl riding a pony near a lake .", "regroup"),
    ("movie", "statement", "there is a cold room .", "complete"),
    ("lead", "statement", "I slept .", "drop_lead"),
    ("between", "statement", "The train finally stopped !", None),
    ("between", "adverb_first", "finally , the train stopped !", "front_advp"),
    ("read", "statement", "the cat ran , seeing the dog .", "unfront"),
    ("said", "statement", "Ann said it is late .", "uninvert"),
    ("sit", "two_clauses", "A man sat on a bench , and he was eating soup .", "participle"),
    ("young", "two_clauses", "A woman sings , and she is young .", "described"),
    ("joined", "clause_first", "after the boy dropped his cup , he cried .", "join_after"),
    ("so", "clause_first", "because I ran , I caught the bus .", "so_because"),
    ("so", "two_clauses", "I ran , so I caught the bus .", "so"),
    ("why", "command", "sit down .", "should"),
    ("misread", "statement", "A cat sleeps on a roof .", "complete"),
    ("tag", "statement", "You won .", "drop_tag"),
    ("order", "clause_first", "in order to rest , she came here .", "front_purpose"),
    ("mixed", "clause_first", "although he is shy , he sings .", "join_although"),
    ("mixed", "yes_no_question", "could it be that he is shy but sings ?", "could_it_be"),
    ("mixed", "how_question", "how is it that he is shy but sings ?", "how_is_it"),
    ("not_so", "clause_first", "as it happens , I did n't know he left .", "filler"),
    ("not_so", "yes_no_question", "did I not know he left ?", "invert"),
    ("lot", "noun_phrase", "the fact of a group of boys running .", "fact_of"),
    ("lot", "how_question", "why are a group of boys running ?", "ask_why"),
    ("elderly", "two_clauses", "a nurse smiled , and the nurse was old .", "described"),
    ("wants", "preposition_first", "on Friday , she wants to leave .", "front_pp"),
    ("today", "adverb_first", "last week , it rained .", "front_advp"),
    ("ought", "command", "note that you ought to rest .", "note_that"),
    ("participle", "yes_no_question", "did the cook peel onions ?", "invert"),
    ("named", "statement", "Bo swims .", "undo_question"),
    ("may", "yes_no_question", "May I come in ?", "repair"),
    ("wrapped", "statement", "you are going home .", "undo_question"),
    ("letus", "yes_no_question", "shall we dance ?", "should"),
    ("tagged", "statement", "You are late .", "repair"),
    ("piece", "statement", "A girl is painting a wall .", "complete"),
    ("both", "yes_no_question", "did they both swim ?", "invert"),
    ("weeks", "preposition_first", "for two weeks , it rained .", "front_pp"),
    ("inner_tag", "yes_no_question", "is she a singer ?", "drop_tag"),
    ("maybe", "yes_no_question", "could it be that you may pay later ?", "could_it_be"),
    ("sit", "clause_first", "while eating soup , a man sat on a bench .", "front_participle"),
    ("read", "*clause_first", "Seeing the dog , the cat ran .", "wrap"),
    ("gift", "*statement", "He gave a ring to her in May .", "dative"),
    ("gift_to", "*statement", "Ann sold him the boat .", "dative"),
    ("lamp", "*statement", "She turned the lamp off .", "shift_particle"),
    ("secret", "*statement", "She closed the door quietly .", "shift_adverb"),
    ("ends", "*statement", "She quietly closed the door .", "shift_adverb"),
    ("rains", "*statement", "It is raining .", "full_form"),
    ("not", "*statement", "He does not like tea .", "full_form"),
    ("bread", "*statement", "it was on Monday that the baker burned the bread .", "cleft"),
    ("late", "*statement", "it was because he felt ill that he left early .", "cleft"),
    ("bread", "*statement", "it was the baker who burned the bread on Monday .", "cleft_subject"),
    ("sings", "*statement", "there was a nurse who sang .", "there_is"),
    ("walk", "*statement", "there is a woman feeding ducks in the park .", "there_is"),
    ("storm", "clause_first", "because there was a storm , the race was stopped .", "there_was"),
    ("storm", "*two_clauses", "there was a storm , so the race was stopped .", "there_was"),
    ("snow", "clause_first", "because there was snow , we stayed .", "there_was"),
    ("storm", "preposition_first", "because of the storm , the race was stopped .", "front_pp"),
    ("storm", "*two_clauses", "The race was stopped , and this happened because of the storm .", "happened"),
    ("reports", "*clause_first", "as the mayor announced , the pool will close .", "as_said"),
    ("new", "two_clauses", "The phone rang , and it was new .", "described"),
    ("sings", "two_clauses", "there was a nurse , and the nurse sang .", "introduce"),
    ("finds", "*two_clauses", "there was a key , and Ann found the key in the grass .", "introduce_object"),
    ("afraid", "noun_phrase", "Many children afraid of dogs .", "nominal"),
    ("room", "preposition_first", "in the room , there are people .", "front_pp"),
    ("there", "preposition_first", "in the garden , there is a lion .", "front_pp"),
    ("lent", "two_clauses", "you lent me the book , and the book was good .", "relative"),
    ("both_did", "two_clauses", "He quickly sat , and he ate .", "split_verbs"),
    ("what", "yes_no_question", "can you tell me what the cook dropped ?", "tell_me"),
    ("picnic", "adverb_first", "tomorrow , we will have a picnic .", "front_advp"),
    ("store", "adverb_first", "yesterday , she drove to the store .", "front_advp"),
    ("taxes", "adverb_first", "next year , they will raise taxes .", "front_advp"),
    ("friday", "preposition_first", "before Friday , you can send me the report .", "front_pp"),
    ("tired", "two_clauses", "She is tired , but she is happy .", "split_predicates"),
    ("open", "how_question", "how about opening the window ?", "suggest"),
    ("open", "what_question", "what about opening the window ?", "suggest"),
    ("can", "how_question", "how about lending me a pen ?", "suggest"),
    ("dont", "*how_question", "why should n't you touch the stove ?", "ask_why"),
    ("clitic", "how_question", "why has she gone to Rome ?", "ask_why"),
    ("letgo", "yes_no_question", "shall we go home ?", "should"),
    ("bet", "how_question", "how did Tom bet on the horse ?", "ask_how"),
    ("bet", "command", "note that Tom bet on the horse .", "note_that"),
    ("when", "two_clauses", "the bell rang , and then the children left .", "when_and"),
]


def text(tree: Tree) -> str:
    return " ".join(words(tree))


@pytest.mark.parametrize(("name", "template", "sentence", "move"), GOLDEN)
def test_golden(name, template, sentence, move):
    found = propose(read_tree(SOURCES[name]), TEMPLATES[template.removeprefix("*")], most=50)
    made = [text(proposal.tree) for proposal in found]
    assert sentence in made if template.startswith("*") else made[:1] == [sentence]
    assert move is None or move in found[made.index(sentence)].moves


@pytest.fixture(params=sorted(SOURCES))
def source(request):
    return read_tree(SOURCES[request.param])


def every(source: Tree):
    return [(name, template, proposal) for name, template in TEMPLATES.items() for proposal in propose(source, template, most=99)]


def test_proposals_match_exactly_and_can_be_read(source):
    assert every(source)
    for _, template, proposal in every(source):
        assert template_of(proposal.tree) == template_of(template)
        assert matches(proposal.tree, template)
        assert str(read_tree(str(proposal.tree))) == str(proposal.tree)
        assert all(leaf.word for leaf in proposal.tree.leaves())


def test_marks_fit_the_clause(source):
    for name, _, proposal in every(source):
        if proposal.moves and "or_not" not in proposal.moves:
            assert (words(proposal.tree)[-1] == "?") == name.endswith("question")


# Content words that frames bring in; all else is of the source, in one form or another.
FRAMES = set(
    """wonder tell note let know thank true indeed fact happen then so not thought question could able order do may should
can shall please there look about fact idea task importance prospect possibility favor knowledge opinion right possible
presumably ideally perhaps reason place time what so very somehow something one think number know mean remember accord hopefully probably certainly year day need give let""".split()
)


def test_words_are_of_the_source_or_of_a_frame(source):
    have = {lemma(leaf.word, leaf.label) for leaf in source.leaves()} | {leaf.word.lower() for leaf in source.leaves()}
    for _, _, proposal in every(source):
        leaves = [leaf for leaf in proposal.tree.leaves() if leaf.label in CONTENT]
        new = {lemma(leaf.word, leaf.label) for leaf in leaves}
        assert new - have - FRAMES - {"be", "have", "he", "she", "some"} == set()


def test_what_drops_nothing_keeps_the_relations(source):
    """Moves of clauses and phrases alone change no pair."""
    plain = set("front_pp front_advp front_sbar unfront invert auxiliary_as_modal passive active undo_question wrap".split())
    for _, _, proposal in every(source):
        if set(proposal.moves) <= plain and proposal.moves != ("wrap",):  # a participle under SBAR
            taken_from_below = text(source).startswith("She wants")  # the phrase goes from one verb to the one above it
            assert proposal.kept >= (0.7 if taken_from_below else 0.99), (text(proposal.tree), proposal)
            assert proposal.missing == proposal.made_up == 0


def test_order_of_proposals(source):
    """Frames last, then what loses or adds words, then relations."""
    for template in TEMPLATES.values():
        found = propose(source, template, most=99)
        frames = [proposal.resort for proposal in found]
        assert frames == sorted(frames)
        for one, after in zip(found, found[1:]):
            assert one.resort != after.resort or one.missing + one.made_up <= after.missing + after.made_up
        assert propose(source, template, most=2) == found[:2]


def test_the_source_is_left_as_it_is(source):
    before = str(source)
    every(source)
    assert str(source) == before


def test_the_unmoved_source_is_a_proposal(source):
    asked = template_of(source)
    assert [proposal.moves for proposal in propose(source, asked) if proposal.tree == source] in ([()], [])
    if source.leaves()[-1].label == ".":
        assert propose(source, asked)[0].tree == source


def test_first_words():
    assert text(lower_first(read_tree(SOURCES["bread"]))).startswith("the baker")
    assert text(lower_first(read_tree(SOURCES["joined"]))).startswith("the boy")
    for kept in ("(NP (NNP Ann))", "(NP (PRP I))", "(NP (NN DVD))"):
        tree = read_tree(f"(S {kept} (VP (VBD came)))")
        assert lower_first(tree) == tree


def test_templates_without_mark_or_comma_are_met():
    source = read_tree(SOURCES["bread"])
    for asked, expected in [
        ("(ROOT (S (NP ) (VP )))", "The baker burned the bread on Monday"),
        ("(ROOT (S (PP ) (NP ) (VP ) (. )))", "on Monday the baker burned the bread ."),
        ("(ROOT (SQ (VBD ) (NP ) (VP ) (. )))", "did the baker burn the bread on Monday ?"),
    ]:
        assert text(propose(source, read_tree(asked))[0].tree) == expected


def test_nothing_is_proposed_for_what_cannot_be_made():
    source = read_tree(SOURCES["bread"])
    assert propose(source, read_tree("(ROOT (FRAG (LST ) (UCP )))")) == []
    assert propose(read_tree("(ROOT (X (SYM +)))"), TEMPLATES["yes_no_question"]) == []


def test_phrases_of_a_noun_are_not_torn_out():
    source = read_tree("(ROOT (S (NP (PRP She)) (VP (VBD met) (NP (NP (DT the) (NN owner)) (PP (IN of) (NP (DT the) (NN shop))))) (. .)))")
    found = propose(source, TEMPLATES["preposition_first"])
    assert found and all("filler" in proposal.moves for proposal in found)


def test_phrases_that_the_verb_needs_stay():
    for phrase in (
        "(VP (VBD looked) (PP (IN at) (NP (DT the) (NN sea))))",
        "(VP (VBZ lives) (PP (IN in) (NP (NNP Rome))))",
        "(VP (VBZ is) (PP (IN at) (NP (DT a) (NN farm))))",
        "(VP (VBD put) (NP (PRP it)) (PP (IN on) (NP (DT the) (NN shelf))))",
        "(VP (VBD wanted) (NP (DT a) (NN book)) (PP (IN of) (NP (NNS maps))))",
    ):
        found = propose(read_tree(f"(ROOT (S (NP (PRP She)) {phrase} (. .)))"), TEMPLATES["preposition_first"])
        assert found and all("filler" in proposal.moves for proposal in found), phrase


def test_commas_go_with_what_they_set_off():
    vp = read_tree("(VP (VBD left) (, ,) (PP (IN in) (NP (NNP May))) (, ,) (S (VP (VBG smiling))))").children[0]
    assert " ".join(words(without(vp, vp.children[2]))) == "left smiling"
    vp = read_tree("(VP (VBD left) (PP (IN in) (NP (NNP May))) (, ,) (S (VP (VBG smiling))))").children[0]
    assert " ".join(words(without(vp, vp.children[1]))) == "left , smiling"
    assert " ".join(words(without(vp, vp.children[3]))) == "left in May"
    assert without(vp, read_tree("(NP (NN tea))")) is None


def test_doubled_commas_and_lone_quotes_go():
    doubled = '(ROOT (S (PP (IN In) (NP (NNP May)) (, ,)) (, ,) (NP (PRP he)) (VP (`` ") (VBD left) (, ,)) (. .)))'
    tree = tidied(read_tree(doubled))
    assert text(tree) == "In May , he left ."
    assert matches(tree, TEMPLATES["preposition_first"])
    whole = read_tree("(ROOT (S (NP (PRP he)) (VP (VBD said) (`` \") (INTJ (UH no)) ('' \")) (. .)))")
    assert tidied(whole) is whole
    at_the_end = read_tree("(ROOT (S (NP (PRP he)) (VP (VBD left)) (, ,) (. .)))")
    assert not matches(tidied(at_the_end), at_the_end)


def test_voices_are_undone_by_each_other():
    for text_ in (
        "(S (NP (DT The) (NN dog)) (VP (VBD bit) (NP (PRP me))))",
        "(S (NP (PRP She)) (VP (VBZ has) (VP (VBN opened) (NP (NNS shops)))))",
        "(S (NP (PRP They)) (VP (MD will) (VP (VB build) (NP (DT a) (NN dam)))))",
        "(S (NP (PRP We)) (VP (VBP are) (VP (VBG painting) (NP (DT the) (NN wall)))))",
        "(S (NP (PRP He)) (VP (VBZ does) (RB n't) (VP (VB trust) (NP (PRP them)))))",
    ):
        clause = read_clause(read_tree(text_).children[0])
        passive = passivated(clause)
        back = activated(passive)
        assert (str(back.subject).lower(), str(back.vp)) == (str(clause.subject).lower(), str(clause.vp))
        assert str(passive.vp) != str(clause.vp)


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("(NP (PRP I))", "i"),
        ("(NP (PRP you))", "plural"),
        ("(NP (DT the) (NNS dogs))", "plural"),
        ("(NP (DT the) (NN dog))", "singular"),
        ("(NP (NP (NNP Ann)) (CC and) (NP (NNP Bo)))", "plural"),
        ("(NP (NP (NNP Ann)) (CC or) (NP (NNP Bo)))", "singular"),
        ("(NP (DT these))", "plural"),
        ("(NP (DT this))", "singular"),
        ("(NP (NNS people))", "plural"),
        ("(NP (NP (DT a) (NN group)) (PP (IN of) (NP (NNS boys))))", "plural"),
        ("(NP (DT the) (NNS news))", "singular"),
    ],
)
def test_person(noun, expected):
    assert person(read_tree(noun).children[0]) == expected


def test_variants_are_bounded_and_always_the_same():
    for text_ in SOURCES.values():
        one, two = ([(str(tree), mark, moves) for tree, mark, moves in Mover(read_tree(text_)).variants] for _ in range(2))
        assert one == two and len(one) < MAX_VARIANTS


def test_nothing_breaks_on_mangled_trees():
    """Whatever a parser gives: labels exchanged, constituents left out or doubled."""
    random.seed(5)
    phrases = ["NP", "VP", "S", "PP", "SBAR", "SQ", "ADVP", "FRAG", "SBARQ", "X", "SINV", "CC", "VBZ", "MD"]

    def mangled(tree: Tree) -> Tree:
        children = [mangled(child) for child in tree.children if random.random() > 0.04 or len(tree.children) == 1]
        if children and random.random() < 0.05:
            children.insert(random.randrange(len(children)), random.choice(children))
        label = random.choice(phrases) if tree.children and tree.label != "ROOT" and random.random() < 0.1 else tree.label
        return Tree(label, children, tree.word)

    for _ in range(60):
        source = mangled(read_tree(random.choice(list(SOURCES.values()))))
        for template in TEMPLATES.values():
            assert all(matches(proposal.tree, template) for proposal in propose(source, template))


@pytest.mark.parametrize(
    "text_",
    [
        "(ROOT (S (NP (PRP He)) (VP (VBD left) (NP (NN home)) (RB today)) (. .)))",  # a time that is no phrase
        "(ROOT (S (NP (PRP I)) (VP (VBD did) (RB n't) (VP (VB know) (SBAR (IN that) (VP (VB speak) (NP (NNP French)))))) (. .)))",
    ],
)
def test_parses_with_phrases_missing_are_moved_as_far_as_they_go(text_):
    for template in TEMPLATES.values():
        assert all(matches(proposal.tree, template) for proposal in propose(read_tree(text_), template))


@pytest.mark.parametrize(
    "vp, at",
    [
        ("(VP (VBZ is) (ADJP (JJ tired)))", 0),
        ("(VP (ADVP (RB now)) (VBZ is) (NP (NN night)))", 1),
        ("(VP (VBZ has) (VP (VBN been) (ADJP (JJ tired))))", None),
        ("(VP (VBZ is) (RB n't) (ADJP (JJ tired)))", None),
        ("(VP (VBZ sleeps))", None),
    ],
)
def test_a_verb_phrase_whose_only_verb_is_be(vp, at):
    [tree] = read_tree(f"(ROOT {vp})").children
    assert copula_at(tree) == at


def test_folding_keeps_what_a_clause_says():
    clause = clauses_of(read_tree(SOURCES["though"]).children[0], ".")[0]
    assert clause.front and not folded(clause).front
    assert "snowed" in str(folded(clause).vp)


def test_a_clause_whose_subject_is_that_keeps_its_subject():
    think = "(ROOT (S (NP (PRP I)) (VP (VBP do) (RB n't) (VP (VB think) (SBAR (S (NP (DT that)) (VP (VBZ 's) (ADJP (JJ fair))))))) (. .)))"
    said = [words(one.tree) for name in TEMPLATES for one in propose(read_tree(think), TEMPLATES[name])]  # used to fail: nothing was left
    assert said and all("that" in text for text in said)
