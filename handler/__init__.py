"""SynPG, a syntactically controlled paraphraser, as a TorchServe model archive.

Data flows one way: request -> syntax/text -> model -> decoding -> text -> response.
Importing the package imports nothing else; `handler/README.md` says what lives in which module.
"""

__version__ = "0.1.0"
