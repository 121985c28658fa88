"""Inputs that are damaged on purpose, for tests."""
