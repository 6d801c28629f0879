"""The wire contract: reads a body into valid requests, turns results into a response. No torch, no TorchServe."""
