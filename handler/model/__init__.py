"""The network as one reads it, and how it copies rare words."""
