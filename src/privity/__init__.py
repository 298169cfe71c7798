"""Privity: confidential AI that people can run themselves."""

__version__ = "0.1.0"
