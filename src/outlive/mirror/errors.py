"""The one kind of error that a user of the mirror sees."""


class MirrorError(Exception):
    """A failure told in one sentence: what is wrong, with which value, and what to do."""
