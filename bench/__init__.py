"""Measures Privity's proxy and gateway beside nginx: `python -m bench --help`."""
