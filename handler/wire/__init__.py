"""The wire contract: a body to valid requests, results to a response."""
