"""The source parser: the tokens of a sentence to its Penn tree."""
