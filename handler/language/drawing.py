"""Draws constituency trees: as lines of text for a terminal, as SVG for a notebook or a page. Standard library only."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import count
from unicodedata import east_asian_width

from handler.language.trees import Tree

# Pixels: between levels, between leaves, around the picture, the height of a letter and half of it.
LEVEL, GAP, MARGIN, LETTER, MIDDLE = 35, 12, 10, 10, 4
STEP, ROW = 16, 21  # sideways: between levels, from word to word
WIDEST = 1000  # of a tree with the root on top
# The width of four kinds of letters.
NARROW, LOWER, CAPITAL, WIDE = 5.5, 8.0, 9.5, 13.0


def text(tree: Tree) -> str:
    """A tree as lines, a constituent a line, with its words. A phrase of leaves alone stands on one line."""
    return "\n".join(_lines(tree, "", ""))


def _lines(tree: Tree, first: str, rest: str) -> list[str]:
    if all(not child.children for child in tree.children):
        leaves = tree.children or [tree]
        said = " ".join(f"{leaf.label} {leaf.word}" if leaf.word else leaf.label for leaf in leaves)
        return [first + (f"{tree.label}  {said}" if tree.children else said)]
    lines = [first + tree.label]
    for child in tree.children:
        last = child is tree.children[-1]
        lines += _lines(child, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))
    return lines


def svg(tree: Tree, classes: Sequence[str] = (), sideways: bool | None = None) -> str:
    """A tree as an SVG image. It takes its colour from the text around it.

    classes: a CSS class for each leaf, "" for none, so that a page can mark words. sideways: False: the root on top, the words in a row
    at the bottom; True: the root at the left, a word a line; None: sideways if it would be wider than WIDEST pixels.
    """
    box = _box(tree)
    if sideways or (sideways is None and box.width + 2 * MARGIN > WIDEST):
        lines, texts, width, height = _draw_sideways(tree, classes)
        anchor = "start"
    else:
        lines, texts, width, height = _draw(box, tree.depth(), classes)
        anchor = "middle"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
        f' font-family="system-ui, sans-serif" font-size="13" text-anchor="{anchor}" fill="currentColor"'
        f' role="img" aria-label="{_escaped(str(tree))}"><g stroke="currentColor" stroke-opacity=".45">{"".join(lines)}</g>'
        f"{''.join(texts)}</svg>"
    )


Drawing = tuple[list[str], list[str], float, float]  # lines, texts, width, height


@dataclass
class _Box:
    """A node with all below it, as a box to be set beside others. Lengths in pixels."""

    node: Tree
    width: float
    middle: float  # of the node's label, from the left edge
    below: list[tuple[float, "_Box"]]  # the children and where their left edges are


def _box(node: Tree) -> _Box:
    """The layout of a node: no two labels or words on one level overlap, whatever they are."""
    own = max(_width(node.label), _width(node.word or ""))
    if not node.children:
        return _Box(node, own, own / 2, [])
    below, right = [], 0.0
    for child in map(_box, node.children):
        below.append((right, child))
        right += child.width + GAP
    middle = sum(place + child.middle for place, child in (below[0], below[-1])) / 2
    left = min(0.0, middle - own / 2)  # a label that is wider than what it stands above
    width = max(right - GAP, middle + own / 2) - left
    return _Box(node, width, middle - left, [(place - left, child) for place, child in below])


def _draw(box: _Box, depth: int, classes: Sequence[str]) -> Drawing:
    """The root on top, the words in a row at the bottom."""
    lines: list[str] = []
    texts: list[str] = []
    numbers = count()

    def baseline(level: int) -> int:
        return MARGIN + LETTER + level * LEVEL

    def draw(box: _Box, left: float, level: int) -> None:
        x, y = left + box.middle, baseline(level)
        texts.append(_text(x, y, box.node.label))
        if not box.node.children:
            number = next(numbers)
            if box.node.word is not None:
                lines.append(_line(x, y + 6, x, baseline(depth) - LETTER - 4, dotted=True))
                texts.append(_word(x, baseline(depth), box.node.word, classes, number))
        for place, child in box.below:
            lines.append(_line(x, y + 6, left + place + child.middle, baseline(level + 1) - LETTER - 3))
            draw(child, left + place, level + 1)

    draw(box, MARGIN, 0)
    rows = depth + any(leaf.word is not None for leaf in box.node.leaves())
    return lines, texts, box.width + 2 * MARGIN, baseline(rows - 1) + MARGIN


def _draw_sideways(tree: Tree, classes: Sequence[str]) -> Drawing:
    """The root at the left, a level a column, the words in the last one."""
    lines: list[str] = []
    texts: list[str] = []
    numbers = count()
    columns = [float(MARGIN)]  # where each level begins
    level = [tree]
    while level:
        columns.append(columns[-1] + max(_width(node.label) for node in level) + STEP)
        level = [child for node in level for child in node.children]

    def draw(node: Tree, level: int) -> float:
        """Draw a node with all below it; returns its baseline."""
        x, end = columns[level], columns[level] + _width(node.label) + 2
        if node.children:
            below = [draw(child, level + 1) for child in node.children]
            y = (below[0] + below[-1]) / 2
            lines.extend(_line(end, y - MIDDLE, columns[level + 1] - 4, other - MIDDLE) for other in below)
        else:
            number = next(numbers)
            y = MARGIN + LETTER + number * ROW
            if node.word is not None:
                lines.append(_line(end, y - MIDDLE, columns[-1] - 4, y - MIDDLE, dotted=True))
                texts.append(_word(columns[-1], y, node.word, classes, number))
        texts.append(_text(x, y, node.label))
        return y

    draw(tree, 0)
    leaves = tree.leaves()
    return lines, texts, columns[-1] + max(_width(leaf.word or "") for leaf in leaves) + MARGIN, 2 * MARGIN + len(leaves) * ROW


def _width(text: str) -> float:
    """About how wide a text is, rather too much: fonts differ."""
    return sum(
        NARROW if character in "fijlrt.,:;!'|()[]-` " else WIDE if character in "mwMW@%&" or east_asian_width(character) in "WF"
        else CAPITAL if character.isupper() else LOWER
        for character in text
    )  # fmt: skip


def _line(x: float, y: float, to_x: float, to_y: float, dotted: bool = False) -> str:
    kind = ' stroke-dasharray="2 3"' if dotted else ""
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}"{kind}/>'


def _word(x: float, y: float, word: str, classes: Sequence[str], number: int) -> str:
    return _text(x, y, word, f"word {classes[number] if number < len(classes) else ''}".strip())


def _text(x: float, y: float, text: str, name: str = "") -> str:
    kind = f' class="{escape(name, quote=True)}" font-style="italic"' if name else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{kind}>{_escaped(text)}</text>'


def _escaped(text: str) -> str:
    """Text for XML, which has no control characters, however they are written."""
    return escape("".join(c if c.isprintable() or c == " " else "\ufffd" for c in text), quote=True)


def with_words(tree: Tree, words: list[str]) -> Tree:
    """The tree with a word at each leaf. Raises ValueError if there are not as many words as leaves."""
    if len(words) != len(tree.leaves()):
        raise ValueError(f"{len(words)} words for {len(tree.leaves())} leaves")
    numbers = count()

    def filled(node: Tree) -> Tree:
        return Tree(node.label, [filled(child) for child in node.children]) if node.children else Tree(node.label, [], words[next(numbers)])

    return filled(tree)
