"""The cause of a row of an audit, in one word for the tables of tests."""


def cause(row):
    """Returns the cause of a verdict about a layer or model, "ok" if there is no fault."""
    return "ok" if row.verdict in ("proven", "checked") else str(row.cause)


def mode_cause(row, mode):
    """Returns the same for one mode, if the cause of the row comes from that mode."""
    return "ok" if getattr(row, mode) in ("proven", "checked") else str(row.cause)
