"""The network in plain PyTorch, and pointer-generator copying of rare words."""
