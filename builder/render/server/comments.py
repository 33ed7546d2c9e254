"""Comments of generated files: each text says which file it is for, and why its lines are as they are."""

from __future__ import annotations


def comment(text: str) -> str:
    """`text` as lines that begin with #."""
    return "".join(f"# {line}\n" if line else "#\n" for line in text.split("\n"))


def sections(*parts: tuple[str, list[str]]) -> str:
    """Parts with a comment in front and an empty line between."""
    return "\n".join(comment(title) + "".join(f"{line}\n" for line in lines) for title, lines in parts)
