"""Draws constituency trees: as lines of text for a terminal, as SVG for a notebook or a page. Standard library only."""

from html import escape
from itertools import count

from handler.language.trees import Tree

# Pixels: between levels, of a character, between leaves, around the picture.
LEVEL, CHARACTER, GAP, MARGIN = 46, 8.2, 14, 18


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


def svg(tree: Tree) -> str:
    """A tree as an SVG image: labels in their places, words in a row at the bottom."""
    depth = tree.depth()
    left = [MARGIN * 1.0]  # where the next leaf begins
    marks: list[str] = []

    def place(node: Tree, level: int) -> float:
        """Draw a node with all below it; returns the middle of its label."""
        y = MARGIN + level * LEVEL
        if node.children:
            below = [place(child, level + 1) for child in node.children]
            x = (below[0] + below[-1]) / 2
            marks.extend(f'<line x1="{x:.1f}" y1="{y + 7}" x2="{end:.1f}" y2="{y + LEVEL - 14}"/>' for end in below)
        else:
            width = CHARACTER * max(len(node.label), len(node.word or ""))
            x, bottom = left[0] + width / 2, MARGIN + depth * LEVEL
            left[0] += width + GAP
            if node.word:
                marks.append(f'<line class="word" x1="{x:.1f}" y1="{y + 7}" x2="{x:.1f}" y2="{bottom - 14}"/>')
                marks.append(f'<text class="word" x="{x:.1f}" y="{bottom}">{escape(node.word)}</text>')
        marks.append(f'<text x="{x:.1f}" y="{y}">{escape(node.label)}</text>')
        return x

    place(tree, 0)
    width, height = left[0] - GAP + MARGIN, MARGIN * 2 + depth * LEVEL
    style = (
        "text{font:13px sans-serif;text-anchor:middle;fill:currentColor}text.word{font-style:italic}"
        "line{stroke:currentColor;stroke-opacity:.45}line.word{stroke-dasharray:2 3}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" height="{height}"'
        f' role="img" aria-label="{escape(str(tree), quote=True)}"><style>{style}</style>{"".join(marks)}</svg>'
    )


def with_words(tree: Tree, words: list[str]) -> Tree:
    """The tree with a word at each leaf. Raises ValueError if there are not as many words as leaves."""
    if len(words) != len(tree.leaves()):
        raise ValueError(f"{len(words)} words for {len(tree.leaves())} leaves")
    numbers = count()

    def filled(node: Tree) -> Tree:
        return Tree(node.label, [filled(child) for child in node.children]) if node.children else Tree(node.label, [], words[next(numbers)])

    return filled(tree)
