"""Errors that commands expect, each told in one line."""

from nndepth_core.engines import EngineError

EXPECTED_ERRORS = (ValueError, OSError, ModuleNotFoundError, EngineError)
