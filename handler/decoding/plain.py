"""The plain network of `model/network.py` as the loop takes it: a token a step, on any device. What is fast is tested against it."""

import numpy as np
import torch

from handler.model.network import KVCache, ModelConfig, SynPG


class PlainCache:
    """A `loop.Cache`."""

    def __init__(self, cache: KVCache):
        self.cache = cache

    def select_rows(self, rows: np.ndarray) -> None:
        self.cache.select_rows(torch.from_numpy(rows).to(self.cache.keys[0].device))


class PlainNetwork:
    """A `loop.Network`. It verifies several tokens one after the other."""

    def __init__(self, net: SynPG):
        self.net = net

    @property
    def config(self) -> ModelConfig:
        return self.net.config

    @torch.inference_mode()
    def encode(self, bag: np.ndarray, syntax: np.ndarray) -> PlainCache:
        return PlainCache(self.net.encode(*(torch.from_numpy(ids).to(self.net.device) for ids in (bag, syntax))))

    @torch.inference_mode()
    def verify(self, tokens: np.ndarray, cache: PlainCache, lengths: list[int]) -> np.ndarray:
        """See `loop.Network.verify`. All rows go on from one length, but for those that have ended: no proposer goes with it."""
        if max(lengths) != cache.cache.length:
            raise ValueError(f"the plain network goes on from {cache.cache.length} tokens a row, not from {max(lengths)}")
        fed = torch.from_numpy(tokens).to(self.net.device)
        return torch.stack([self.net.step(column, cache.cache) for column in fed.unbind(1)], 1).float().cpu().numpy()
