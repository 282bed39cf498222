"""The one kind of error that is the user's to mend."""


class MimiiError(ValueError):
    """Input that cannot be used: one sentence with what was found, what was expected and what to do."""


def unknown_value(parameter: str, found: object, allowed: object) -> MimiiError:
    """Return the error for a `parameter` whose value `found` is none of the names `allowed`."""
    names = ", ".join(map(str, allowed))  # type: ignore[call-overload]
    return MimiiError(f"{parameter}: '{found}' is not known; expected one of {names}")
