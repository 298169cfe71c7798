"""How `--help` is laid out."""

import argparse
import textwrap


class HelpFormatter(argparse.HelpFormatter):
    """Fills each paragraph by itself, but for those with indented lines, and breaks no name at its hyphens."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_on_hyphens=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.strip("\n").split("\n\n")
        return "\n\n".join(
            paragraph if "\n  " in paragraph else textwrap.fill(paragraph, width, break_on_hyphens=False)
            for paragraph in paragraphs
        ).replace("\n", f"\n{indent}")
