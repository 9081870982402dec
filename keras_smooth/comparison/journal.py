"""The runs that have ended since results.json was written last, a line of JSON each.

To write all of results.json after every run would take longer for every run. So a run goes here
at once, and results.json is written when the runs outside of it have become many.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from keras_smooth import checks
from keras_smooth.comparison import files, schema
from keras_smooth.comparison.experiment import Outcome
from keras_smooth.comparison.results import Key, Results
from keras_smooth.comparison.settings import FACTORS, Settings, Variant

JOURNAL = "runs.jsonl"
# Results are written anew when so many more runs have ended than they hold, as a fraction.
GROWTH = 0.25
_RULES = {
    "type": "object",
    "required": ["settings", "run", "seconds", *map(files.stored_key, FACTORS)],
    "properties": {"run": {"$ref": "#/$defs/run"}, "seconds": {"type": "number"}},
    "additionalProperties": {"type": "string"},
}


class Recorder:
    """Keeps the runs of a comparison in a directory, each as soon as it has ended.

    Args:
        results: To which runs are added.
        directory: Where they are kept.
    """

    def __init__(self, results: Results, directory: Path) -> None:
        self._results = results
        self._directory = directory
        self._num_written = 0
        self._num_since = 0

    def keep(self, key: Key) -> None:
        """Writes a run that has been added to the results."""
        files.write_curves(self._results, key, self._directory)
        self._num_since += 1
        if self._num_since > GROWTH * self._num_written:
            self.write_all()
        else:
            _append(self._directory / JOURNAL, self._results, key)

    def write_all(self) -> None:
        """Writes results.json, after which the journal is empty."""
        files.write(self._results, self._directory)
        (self._directory / JOURNAL).unlink(missing_ok=True)
        self._num_written, self._num_since = len(self._results.outcomes), 0


class Entry(NamedTuple):
    """A line of the journal.

    Args:
        variant: Of the run.
        run: Its fields.
        seconds: Of the comparison up to its end.
        content: All that is in the line but for its digest, which is that of this and of
            the curves.
        digest: As it stands there.
    """

    variant: Variant
    run: dict[str, Any]
    seconds: float
    content: dict[str, Any]
    digest: str

    def is_whole(self, outcome: Outcome) -> bool:
        """Whether nothing has changed since it was written, with the outcome as it was read."""
        return self.digest == _digest(self.content, outcome)


def entries(directory: Path, settings: Settings) -> Iterator[Entry]:
    """Gives the lines that were added under these settings.

    A line without an end is that of a process that was killed, and is passed over: its run
    is made again.

    Raises:
        ValueError: If a line cannot be read.
    """
    path = directory / JOURNAL
    if not path.exists():
        return
    *lines, _ = checks.regular_file(path).read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            content = json.loads(line)
            fault = schema.fault(content, _RULES)
        except (ValueError, RecursionError) as error:
            fault = str(error)
        if fault:
            raise ValueError(f"{path}, line {number}: {fault}")
        digest = content.pop("digest", "")
        # Else results.json was written after it, with all runs that counted then.
        if content["settings"] == _settings_digest(settings):
            levels = {name: content[files.stored_key(name)] for name in FACTORS}
            yield Entry(
                Variant(**levels), content["run"], content["seconds"], content, digest
            )


def _append(path: Path, results: Results, key: Key) -> None:
    outcome = results.outcomes[key]
    content = {
        "settings": _settings_digest(results.settings),
        **files.stored_levels(key.variant),
        "run": files.stored_run(outcome),
        "seconds": results.seconds,
    }
    line = json.dumps({**content, "digest": _digest(content, outcome)}) + "\n"
    # Not through a link to a file that is somebody else's.
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
    with open(os.open(path, flags, 0o666), "ab") as file:
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())


def _settings_digest(settings: Settings) -> str:
    text = json.dumps(files.stored_settings(settings), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _digest(content: dict[str, Any], outcome: Outcome) -> str:
    return files.digest(content, [outcome])
