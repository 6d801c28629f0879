"""The model archive, and TorchServe on this machine."""
