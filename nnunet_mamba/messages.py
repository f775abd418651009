"""What messages quote."""


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its type where it has no text."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].strip()
