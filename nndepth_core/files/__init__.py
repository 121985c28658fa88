"""Files: writing them whole or not at all, and reading pictures of bounded size."""
