"""An answer of the wire contract as a Python object, for those who call the server and those who call the model. Standard library only."""

from html import escape

from handler.language import drawing
from handler.language.trees import Tree, read_tree


class Answer(dict):
    """An answer with its details, under the names that they have on the wire. A notebook shows it with its parse drawn."""

    @property
    def tree(self) -> Tree:
        """The parse that the paraphrase follows, with its words where there is one for each leaf."""
        tree, words = read_tree(self["parse"]), self.get("tokens") or self["paraphrase"].split(" ")
        return drawing.with_words(tree, words) if len(words) == len(tree.leaves()) else tree

    def __str__(self) -> str:
        return str(self["paraphrase"])

    def _repr_html_(self) -> str:
        moves = "generated" if self["moves"] is None else ", ".join(self["moves"]) or "as it is"
        return f"<p><b>{escape(str(self))}</b> <small>{escape(moves)}</small></p>{drawing.svg(self.tree)}"
