"""Files that are written atomically, and directories with one comparison each."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

import keras_smooth
from keras_smooth.comparison.records import lock
from keras_smooth.lbfgs.run import atomic_files


def test_file_is_replaced_without_leftovers(tmp_path):
    path = tmp_path / "file"
    for content in (b"first", b"second"):
        atomic_files.write(path, [content[:2], memoryview(content[2:])])
        assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_failed_write_keeps_the_old_file(tmp_path, monkeypatch, step):
    def raise_disk_full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, step, raise_disk_full)
    with pytest.raises(OSError, match="No space left on device: .*file"):
        atomic_files.write(path, [b"new"])
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["file"]


def test_concurrent_writers_use_different_temporary_names(tmp_path, monkeypatch):
    path, original, temporary_names = tmp_path / "file", os.replace, []

    def replace(source, target):
        temporary_names.append(Path(source).name)
        if len(temporary_names) == 1:  # Another writer at the same time.
            atomic_files.write(path, [b"other"])
        original(source, target)

    monkeypatch.setattr(os, "replace", replace)
    atomic_files.write(path, [b"first"])
    assert len(set(temporary_names)) == 2 and path.read_bytes() == b"first"


def test_symbolic_link_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "other").write_bytes(b"mine")
    (tmp_path / "file").symlink_to(tmp_path / "other")
    atomic_files.write(tmp_path / "file", [b"new"])
    assert (tmp_path / "other").read_bytes() == b"mine"
    assert (tmp_path / "file").read_bytes() == b"new"


def test_only_leftovers_of_dead_processes_are_removed(tmp_path, monkeypatch):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    monkeypatch.setattr(os, "replace", lambda *_: None)
    atomic_files.write(tmp_path / "file", [b"mine"])  # As if the process was still writing.
    (living,) = os.listdir(tmp_path)
    kept = [
        living,
        living.replace(atomic_files._host_name(), "elsewhere").replace(f".{os.getpid()}.", f".{dead.pid}."),
        ".mine.partial",
        "file.partial",
    ]  # fmt: skip
    removed = living.replace(f".{os.getpid()}.", f".{dead.pid}.")
    for name in (*kept, removed):
        (tmp_path / name).write_bytes(b"")
    atomic_files.remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(kept)


# One comparison for each directory.


def test_second_comparison_in_a_directory_raises(tmp_path):
    with lock.locked(tmp_path):
        with pytest.raises(ValueError, match=f"process {os.getpid()}, is writing in"):
            keras_smooth.compare(["tanh"], out=tmp_path)
    with lock.locked(tmp_path):
        pass  # The first has ended.


def test_lock_of_a_killed_process_is_free(tmp_path):
    code = (
        "import fcntl, sys; file = open(sys.argv[1], 'w'); "
        "fcntl.flock(file, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / lock.NAME)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    process.stdout.readline()
    with pytest.raises(ValueError, match="Another comparison"):
        with lock.locked(tmp_path):
            pass
    process.kill()
    process.communicate()
    with lock.locked(tmp_path):
        pass


@pytest.mark.parametrize("kind", ["link", "directory"])
def test_link_or_directory_in_place_of_the_lock_raises(tmp_path, kind):
    (tmp_path / "mine").write_text("mine")
    if kind == "link":
        (tmp_path / lock.NAME).symlink_to(tmp_path / "mine")
    else:
        (tmp_path / lock.NAME).mkdir()
    with pytest.raises(ValueError, match="Cannot write in the output directory"):
        keras_smooth.compare(["tanh"], out=tmp_path)
    assert (tmp_path / "mine").read_text() == "mine"
