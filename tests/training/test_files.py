"""Files that survive their writer."""

import fcntl

import pytest

from metagrad.training.files import replacing, require_writable
from metagrad.training.leftovers import RUN_FILES, new_partial_directory, remove_files
from metagrad.training.locking import lock, locked


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "value"
    with replacing(path) as file:
        file.write(b"old")

    def fail_half_way():
        with replacing(path) as file:
            file.write(b"half of the n")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["value"]


def test_a_lock_is_held_until_it_is_closed(tmp_path):
    first = lock(tmp_path)
    assert first is not None
    assert lock(tmp_path) is None
    first.close()
    second = lock(tmp_path)
    assert second is not None
    second.close()


def test_whether_a_directory_is_locked_can_be_asked_without_writing(tmp_path):
    assert not locked(tmp_path)
    assert not list(tmp_path.iterdir())
    held = lock(tmp_path)
    assert held is not None
    assert locked(tmp_path)
    assert locked(tmp_path)
    held.close()
    assert not locked(tmp_path)
    assert not locked(tmp_path / "absent")


def test_a_directory_stays_locked_when_the_lock_file_is_deleted_or_exchanged(tmp_path):
    held = lock(tmp_path)
    assert held is not None
    (tmp_path / "lock").unlink()
    assert lock(tmp_path) is None
    assert locked(tmp_path)
    (tmp_path / "lock").write_text("")
    assert lock(tmp_path) is None
    tmp_path.rename(tmp_path.with_name("moved"))
    assert lock(tmp_path.with_name("moved")) is None
    held.close()
    assert not locked(tmp_path.with_name("moved"))
    tmp_path.with_name("moved").rename(tmp_path)


def test_a_lock_of_the_file_alone_is_seen(tmp_path):
    """As earlier versions take it."""
    with (tmp_path / "lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert locked(tmp_path)
        assert lock(tmp_path) is None
    assert not locked(tmp_path)


def test_what_a_lock_file_holds_stays(tmp_path):
    (tmp_path / "lock").write_text("somebody's")
    held = lock(tmp_path)
    assert held is not None
    held.close()
    assert (tmp_path / "lock").read_text() == "somebody's"


def dead(path):
    """A directory as a killed writer leaves it, after each of its steps."""
    directory, held = new_partial_directory(path)
    held.close()
    return directory


def test_leftovers_of_dead_writers_go_and_those_of_living_ones_stay(tmp_path):
    first = dead(tmp_path / "run")
    living, held = new_partial_directory(tmp_path / "run")
    assert not first.exists()
    last, other = new_partial_directory(tmp_path / "run")
    assert living.exists()
    assert last.exists()
    held.close()
    other.close()


def test_a_leftover_goes_whatever_was_written_in_it(tmp_path):
    directory = dead(tmp_path / "run")
    (directory / "config.json").write_text('{"format": 1}')
    (directory / "metrics.jsonl").write_text("")
    (directory / "last.safetensors.0123abcd.partial").write_bytes(bytes(8) + b'{"w"')
    (directory / "checkpoint.pt.0123abcd.partial").write_bytes(b"")
    dead(tmp_path / "run")
    assert not directory.exists()


FOREIGN = {
    "a file of another name": lambda d: (d / "thesis.tex").write_text("precious"),
    "a file of ours with other content": lambda d: (d / "config.json").write_text("precious"),
    "a lock with content": lambda d: (d / "lock").write_text("precious"),
    "metrics": lambda d: (d / "metrics.jsonl").write_text("precious"),
    "a directory": lambda d: (d / "config.json").mkdir(),
    "a link": lambda d: (d / "config.json").symlink_to("/etc/passwd"),
    "no lock": lambda d: (d / "lock").unlink(),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_directory_of_somebody_else_stays(tmp_path, kind):
    directory = dead(tmp_path / "run")
    FOREIGN[kind](directory)
    before = sorted(path.name for path in directory.iterdir())
    dead(tmp_path / "run")
    assert sorted(path.name for path in directory.iterdir()) == before


@pytest.mark.parametrize(
    ("target", "other"),
    [
        ("*", ".mine.0123abcd.partial"),
        ("[ab]", ".a.0123abcd.partial"),
        ("new", ".new.mine.partial"),
        ("new", ".new.0123ABCD.partial"),
        ("new", ".new.er.0123abcd.partial"),
        ("n.w", ".new.0123abcd.partial"),
    ],
)
def test_a_name_is_no_pattern(tmp_path, target, other):
    (tmp_path / other).mkdir()
    lock(tmp_path / other).close()
    dead(tmp_path / target)
    assert (tmp_path / other / "lock").exists()


def test_a_link_to_a_leftover_stays(tmp_path):
    elsewhere = dead(tmp_path / "other")
    (tmp_path / ".run.0123abcd.partial").symlink_to(elsewhere, target_is_directory=True)
    dead(tmp_path / "run")
    assert (elsewhere / "lock").exists()


def test_only_half_written_files_of_ours_are_removed(tmp_path):
    ours = {
        "checkpoint.pt.partial": bytes(32) + b"PK\x03\x04 and half of the rest",  # as earlier versions named it
        "checkpoint.pt.0123abcd.partial": b"",
        "best.safetensors.00000000.partial": bytes(8) + b'{"w":',
        "config.json.ffffffff.partial": b'{"form',
    }
    others = {
        "notes.partial": b"{",
        "config.json.partial": b"my notes",
        "checkpoint.pt.0123abcd.partial.txt": b"",
        "thesis.json.0123abcd.partial": b"{",
        "last.safetensors.xyz.partial": b"",
        "config.json": b"{",
    }
    for name, content in {**ours, **others}.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "last.safetensors.0123abcd.partial").symlink_to(tmp_path / "config.json")
    remove_files(tmp_path, RUN_FILES)
    assert {path.name for path in tmp_path.iterdir()} == {*others, "last.safetensors.0123abcd.partial"}


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "precious").write_text("precious")
    for name in ("value", "value.partial"):
        (tmp_path / name).symlink_to(tmp_path / "precious")
    with replacing(tmp_path / "value") as file:
        file.write(b"new")
    assert (tmp_path / "precious").read_text() == "precious"
    assert (tmp_path / "value").read_text() == "new"
    assert not (tmp_path / "value").is_symlink()


@pytest.mark.parametrize("place", ["file/value", "n" * 300, "/proc/value", "/proc/absent/value"])
def test_an_output_that_cannot_be_written_is_named(tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"value|nnn") as caught:
        require_writable(tmp_path / place)
    assert "cannot be written: " in str(caught.value)
    assert str(tmp_path / place) in str(caught.value)


def test_one_that_can_be_written_leaves_no_trace(tmp_path):
    require_writable(tmp_path / "value")
    require_writable(tmp_path / "a" / "b" / "value")
    assert list(tmp_path.iterdir()) == []
