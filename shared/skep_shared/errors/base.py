"""The base class of all errors."""


class SkepError(Exception):
    """The base class of all errors of skep."""
