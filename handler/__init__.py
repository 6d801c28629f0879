"""SynPG, a syntactically controlled paraphraser, as a TorchServe model archive.

Data flows one way: request, plan, parse, text, response. Importing the package imports nothing else.
`handler/README.md` says what lives where.
"""

__version__ = "0.2.0"
