"""The parts of the commands for AWS: plans without side effects, one place that carries them out, errors as sentences."""
