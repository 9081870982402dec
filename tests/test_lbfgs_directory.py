"""Several writers use a directory of checkpoints at the same time."""

import threading

import numpy as np

from keras_smooth.lbfgs.run.checkpoint import Checkpoint


def arrays(number):
    return {"number": np.full(1000, number)}


def test_several_writers_at_once_write_complete_files(tmp_path):
    """No writer fails, and the files are complete in the end."""
    errors = []

    def write(first):
        try:
            checkpoint = Checkpoint(tmp_path, {})
            for nit in range(first, first + 20):
                checkpoint.save(nit, arrays(nit))
                checkpoint.load()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(first,)) for first in (1, 1, 2, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    loaded = Checkpoint(tmp_path, {}).load()["number"]
    assert np.array_equal(loaded, np.full(1000, 24))


def test_symbolic_links_are_not_followed(tmp_path):
    """A link is not followed, with the name of a file of 0.1.0 or with that of a checkpoint."""
    other = tmp_path / "other"
    other.write_bytes(b"mine")
    directory = tmp_path / "run"
    directory.mkdir()
    for name in ("fit_lbfgs.part", "fit_lbfgs-000000000001.checkpoint"):
        (directory / name).symlink_to(other)
    checkpoint = Checkpoint(directory, {})
    checkpoint.save(1, arrays(1))
    assert other.read_bytes() == b"mine"
    assert np.array_equal(checkpoint.load()["number"], arrays(1)["number"])
