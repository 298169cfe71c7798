"""JSON that was cut, brought to an end: what is not complete is left out, and what is open is closed."""

_CLOSERS = {"{": "}", "[": "]"}


def closed(text: str) -> str | None:
    """Return the longest beginning of a JSON object or array that can be closed, with its closing brackets.

    None where nothing can be kept. Not checked: whether what is kept is valid JSON.
    """
    stack: list[str] = []
    keep: tuple[int, str] | None = None
    in_string = escaped = False
    for position, character in enumerate(text):
        if in_string:
            in_string = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            in_string = True
        elif character in _CLOSERS:
            stack.append(_CLOSERS[character])
            keep = (position + 1, "".join(reversed(stack)))
        elif character in "}]":
            if not stack or stack.pop() != character:
                return None
            keep = (position + 1, "".join(reversed(stack)))
        elif character == ",":  # what stands before a comma is whole
            keep = (position, "".join(reversed(stack)))
    return text[: keep[0]] + keep[1] if keep is not None else None
