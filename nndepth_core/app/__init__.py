"""The page of `nndepth app`: what happens to dropped images, and how it is shown."""
