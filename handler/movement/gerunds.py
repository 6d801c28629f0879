"""Finite verb phrases as gerunds: `has opened the door` as `having opened the door`."""

from handler.language.morphology import lemma
from handler.language.relations import coordinated
from handler.language.trees import Tree
from handler.movement.clauses import formed, inner, is_negation, leaf, node, said, verb_at


def gerund_of(vp: Tree) -> Tree | None:
    """A finite verb phrase as a gerund: modals and `do` go, `be` of a progressive as well."""
    verb = verb_at(vp)
    if verb is None:
        members = [child for child in vp.children if child.label == "VP"]
        changed = {id(child): gerund for child in members if (gerund := gerund_of(child)) is not None}
        if not members or len(changed) < len(members):
            return None
        return Tree("VP", [changed.get(id(child), child) for child in vp.children])
    word, place = vp.children[verb], inner(vp)
    name = lemma(word.word or "", word.label)
    if said(word) == "used" and any(child.label == "S" for child in vp.children):
        return None  # used to do it
    before, after = vp.children[:verb], vp.children[verb + 1 :]
    negation = [leaf("RB", "not")] if after and is_negation(after[0]) else []
    after = after[1:] if negation else after
    if coordinated(vp) and any(child.label in ("VB", "VBD", "VBZ", "VBP") for child in after):
        return None
    if word.label == "MD" or name == "do" and place is not None:
        below = next((child for child in after if child.label == "VP"), None)
        inside = ing_form(below) if below is not None else None
        if name in ("can", "could") and below is not None:
            able = node("ADJP", leaf("JJ", "able"), node("S", node("VP", leaf("TO", "to"), below)))
            return node("VP", *negation, *before, leaf("VBG", "being"), able, *[child for child in after if child is not below])
        return (
            Tree("VP", [*negation, *before, *[part for child in after for part in (inside.children if child is below else [child])]])
            if inside is not None
            else None
        )
    if name == "be" and place is not None:
        progressive = vp.children[place]
        at = verb_at(progressive)
        if at is not None and progressive.children[at].label == "VBG":
            parts = [part for child in after for part in (child.children if child is progressive else [child])]
            return Tree("VP", [*negation, *before, *parts])
    adverbs = []
    while place is not None and after and after[0].label == "ADVP":
        adverbs.append(after.pop(0))
    return Tree("VP", [*negation, *before, *adverbs, formed(word, "VBG"), *after])


def ing_form(vp: Tree) -> Tree:
    if verb_at(vp) is None:
        return Tree("VP", [ing_form(child) if child.label == "VP" else child for child in vp.children])
    at = verb_at(vp) or 0
    return Tree("VP", [*vp.children[:at], formed(vp.children[at], "VBG"), *vp.children[at + 1 :]])
