"""The moves that made a parse, in words. `handler/movement/` makes them; `details` of an answer names them."""

PHRASES = {
    "sbar": "the subordinate clause",
    "pp": "the prepositional phrase",
    "advp": "the adverb",
    "np": "the noun phrase",
    "s": "the clause",
    "vp": "the verb phrase",
    "adjp": "the adjective phrase",
    "purpose": "the purpose (“in order to …”)",
    "participle": "the participle",
}
ONE_TO_TWO = {
    "because_so": "“A because B” became “B, so A”",
    "so_because": "“A, so B” became “because A, B”",
    "so": "the result became a clause with “so”",
    "although_but": "“although A, B” became “A, but B”",
    "while_and": "“A while B” became “A, and B”",
    "when_and": "“when A, B” became “A, and then B”",
    "before_and": "“A before B” became “A, and then B”",
    "after_and": "“A after B” became “B, and then A”",
    "until_but": "“A until B” became “A, but then B”",
    "may_be": "the condition became something that may be: “if A, B” is “maybe A, and then B”",
    "split_verbs": "two joined verbs became two clauses",
    "split_predicates": "two joined predicates became two clauses",
    "split_objects": "two joined objects became two clauses",
    "split_subjects": "two joined subjects became two clauses",
    "described": "a description became a clause of its own",
    "had": "whom one has became a clause of its own (“I have a …”)",
    "told_so": "what is told or known became a clause of its own",
    "unknown": "what is asked became a clause of its own (“something …, but … what”)",
    "too": "what is too much became a clause of its own, with “so”",
    "role": "what someone works as became a clause of its own",
    "stance": "who said or thought it became a phrase in front (“in my opinion”, “hopefully”)",
    "did_you_know": "“did you know that” was put in front",
    "ask_oneself": "the speaker is asked about",
    "quality": "an adjective became a clause of its own",
    "place": "a place became a clause of its own",
    "there_was": "a cause became a clause of its own",
    "reported": "what is reported became a clause of its own",
    "introduce": "the subject was introduced in a clause of its own",
    "introduce_object": "the object was introduced in a clause of its own",
    "do_so": "a phrase became a clause of its own (“… did so”)",
    "happened": "a phrase became a clause of its own (“this happened …”)",
    "or_not": "“or did …?” was added as a second clause",
    "join": "the two clauses were joined by a conjunction",
    "comma": "a comma was put between the two clauses",
}
WORDS = {
    **ONE_TO_TWO,
    "unfront": "what stood in front went back behind the verb",
    "wrap": "the phrase in front counts as the kind that the template asks for",
    "wrap_lead": "the first word counts as the kind that the template asks for",
    "as_said": "who said it came first (“as … said”)",
    "while_in": "the place came first (“while in …”)",
    "join_after": "the first of two verbs became a clause with “after”",
    "join_while": "the first of two verbs became a clause with “while”",
    "join_although": "the first of two verbs became a clause with “although”",
    "filler": "a frame was added that says nothing, since no phrase can take that place",
    "passive": "active became passive",
    "active": "passive became active",
    "relative": "a relative clause was made or undone",
    "participle": "a participle became a finite verb",
    "dative": "who receives it changed places with what is given",
    "shift_particle": "the particle changed places with the object",
    "shift_adverb": "the adverb changed its place",
    "split_adverb": "the adverb changed its place",
    "full_form": "a short form was written in full",
    "there_is": "“there is” was put before the subject",
    "cleft": "“it is … that” was put around a phrase",
    "cleft_subject": "“it is … that” was put around the subject",
    "invert": "subject and auxiliary changed places",
    "auxiliary_as_modal": "the auxiliary counts as the modal that the template asks for",
    "uninvert": "the speaker came first again",
    "undo_question": "the question was read as a statement",
    "wonder": "the question became what someone wonders",
    "tell_me": "the question became what someone is to tell",
    "tell_me_if": "the question became what someone is to tell",
    "do_you_know": "the question became what someone knows",
    "question_of": "the question became a noun phrase (“the question of …”)",
    "should": "the command was read as a statement (“… should …”)",
    "drop_subject": "the subject was left out",
    "let": "the statement became a command with “let”",
    "let_other": "the statement became a command with “let”",
    "look_at": "“look at” was put in front",
    "as_for": "what the sentence is about came first (“as for …”)",
    "suggest": "the command became a proposal (“what about …”, “how about …”)",
    "how_about": "the question became what someone is to tell",
    "reword": "another question word asks the same",
    "note_that": "“note that” was put in front",
    "ask_which_subject": "the subject became what is asked",
    "ask_subject": "the subject became what is asked",
    "ask_which_object": "the object became what is asked",
    "ask_object": "the object became what is asked",
    "ask_time": "the time became what is asked",
    "what_if": "“what if” was put in front",
    "could_it_be": "“could it be that” was put in front",
    "how_is_it": "“how is it that” was put in front",
    "ask_why": "the reason became what is asked",
    "ask_how": "the manner became what is asked",
    "ask_when": "the time became what is asked",
    "ask_where": "the place became what is asked",
    "drop_reason": "the reason was left out",
    "drop_lead": "the first word was left out",
    "drop_tag": "the question tag was left out",
    "unquote": "quotation marks were left out",
    "repair": "what looked like an error of the parser was mended",
    "complete": "the fragment became a whole sentence",
    "subordinate": "one clause became subordinate to the other",
    "merge": "two clauses with one subject became one",
    "nominal": "the clause became a noun phrase",
    "regroup": "the phrases of the noun were grouped in another way",
    "owned": "the clause became something that someone does (“his …ing”)",
    "task_of": "the command became a noun phrase (“the task of …”)",
    "need_for": "the clause became a noun phrase (“the need for … to …”)",
    "wish": "what someone would like became what is asked for",
    "lower_negation": "the negation went to what is thought",
    "prospect_of": "the clause became a noun phrase (“the prospect of …”)",
    "fact_of": "the clause became a noun phrase (“the fact of …”)",
    "thought_of": "the clause became a noun phrase (“the thought of …”)",
}
GENERATED = "No move of the sentence's own phrases reaches this form, so the parse was generated freely. Such answers mostly go wrong."
AS_IT_IS = "The sentence has this form already; nothing was moved."
YOURS = "The answer follows the tree you gave, word by word."


def phrase(move: str) -> str:
    """A move in words; its plain name if it is not known here."""
    if move.startswith("front_") and move[6:] in PHRASES:
        return f"{PHRASES[move[6:]]} came first"
    return WORDS.get(move) or move.replace("_", " ")


def sentence(moves: list[str] | None, whole: bool = False) -> str:
    """What made a parse, as one or two sentences. moves: as `details` has them. whole: the request gave the parse."""
    if whole:
        return YOURS
    if moves is None:
        return GENERATED
    if not moves:
        return AS_IT_IS
    said = "; then ".join(phrase(move) for move in dict.fromkeys(moves))
    first = next(place for place, character in enumerate(said) if character.isalnum())
    return f"{said[:first]}{said[first].upper()}{said[first + 1 :]}."
