"""Random and damaged inputs for tests, readers of what is written, and a runner of commands."""
