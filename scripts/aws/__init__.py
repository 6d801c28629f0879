"""What the commands that talk to AWS are made of: pure plans, one place that carries them out, errors as sentences."""
