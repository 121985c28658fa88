"""Random and damaged inputs for tests, and readers of what they write."""
