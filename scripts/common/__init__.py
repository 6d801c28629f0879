"""What all commands share: where things lie, and how a user's error ends a command."""
