"""Privity: confidential AI that people can run themselves."""

from importlib.metadata import version

__version__ = version("privity")
