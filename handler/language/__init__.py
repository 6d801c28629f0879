"""Strings and trees: tokens, vocabulary, part-of-speech tags, Penn trees. No tensors."""
