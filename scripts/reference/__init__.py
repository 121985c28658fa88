"""Parts of the documentation that are written from the code, and what pages need around them."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The repository."""
