"""What strangers wrote, as it may go to a terminal."""


def printable(text: str) -> str:
    """Captions and URLs without control characters: an escape could move the cursor, or worse."""
    return "".join(char if char.isprintable() else " " for char in text)
