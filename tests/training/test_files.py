"""Files that survive their writer."""

import pytest

from metagrad.training.files import lock, locked, new_partial_directory, replacing


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


def test_leftovers_of_dead_writers_go_and_those_of_living_ones_stay(tmp_path):
    dead, held = new_partial_directory(tmp_path / "run")
    held.close()
    living, held = new_partial_directory(tmp_path / "run")
    assert not dead.exists()
    last, other = new_partial_directory(tmp_path / "run")
    assert living.exists()
    assert last.exists()
    held.close()
    other.close()
