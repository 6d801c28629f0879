"""Corpus, training, calibration and evaluation of models; import of the published checkpoints."""
