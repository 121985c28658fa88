"""Filters that clean maps of depth, in the order of `DepthFilters`; each is off by default."""

from nndepth_core.filters.chain import DepthFilters, View
from nndepth_core.filters.settings import FilterSettings

__all__ = ['DepthFilters', 'FilterSettings', 'View']
