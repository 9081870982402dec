"""Why a row of an audit is not fine, in one word for the tables of tests."""


def cause(row):
    """Returns why a layer or model is not fine, "ok" where it is."""
    return "ok" if row.verdict in ("proven", "checked") else str(row.cause)


def mode_cause(row, mode):
    """Returns the same of one mode; the cause is known where the row has it from there."""
    return "ok" if getattr(row, mode) in ("proven", "checked") else str(row.cause)
