"""Random and damaged inputs for tests."""
