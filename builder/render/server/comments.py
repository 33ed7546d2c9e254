"""Comments of generated files: each text says which file it is for, and why its lines are as they are."""

from __future__ import annotations


def comment(text: str) -> str:
    """`text` as lines that begin with #."""
    return "".join(f"# {line}\n" if line else "#\n" for line in text.split("\n"))


_OF_STORE = "of the store "


def heading(path: str, what: str, store: str) -> str:
    """The first lines of a file of a server: where it belongs, what it is for, and which store's it is."""
    return f"{path} - {what}\n{_OF_STORE}{store}"


def store_in_heading(text: str) -> str | None:
    """The store whose file a text is, by its first lines; None where it says none."""
    for line in text.split("\n", 3)[:3]:
        if line.startswith(f"# {_OF_STORE}"):
            return line.removeprefix(f"# {_OF_STORE}").strip()
    return None


def sections(*parts: tuple[str, list[str]]) -> str:
    """Parts with a comment in front and an empty line between."""
    return "\n".join(comment(title) + "".join(f"{line}\n" for line in lines) for title, lines in parts)
