"""Calls to a running server or an endpoint."""
