"""Target parses made by moving the constituents of the source's own parse. Trees in, trees out."""
