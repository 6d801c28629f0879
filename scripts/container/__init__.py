"""What runs in the container, and what builds it."""
