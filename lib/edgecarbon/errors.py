"""The one exception that a user is meant to read."""


class UserError(Exception):
    """Something the user can mend: the text names the file, the field and the way out. Shown without a traceback."""
