"""The model in the page: an engine in plain JavaScript, and explorables that run on it."""

from .site import EXPLORABLES, build, demo, embed, fill, show

__all__ = ["EXPLORABLES", "build", "demo", "embed", "fill", "show"]
