"""What a user can get wrong, as one exception with a one-line message."""


class InputError(ValueError):
    """A file, image or value that cannot be used.

    The message is one line that names the file or argument, what was expected and what was found. The command
    line prints it as it stands and ends with exit status 1; anything else that escapes is a defect of ours.
    """


def shown(found: object, longest: int = 60) -> str:
    """Return what was found as an error quotes it: never more than one short line."""
    text = repr(found)
    return text if len(text) <= longest else f"{text[: longest - 4]} ..."
