"""The cache of decoded images: used where it may be, made anew where it may not, never half written."""

import multiprocessing
import os
import warnings
from pathlib import Path

import pytest
import torch

from metagrad.tasks import archives
from metagrad.tasks.archives import Inventory, read_omniglot
from metagrad.tasks.cache import default_cache
from metagrad.tasks.omniglot import load_omniglot
from tasks.small_omniglot import MEMBERS, NAMES, SMALL, drawing, pixels, png, write_folders, write_zips


def cache_file(cache):
    (path,) = cache.iterdir()
    return path


def forbid_decoding(monkeypatch):
    def decode(*arguments):
        raise AssertionError("the archives were decoded again")

    monkeypatch.setattr(Inventory, "decode", decode)


def test_second_load_reads_the_cache_and_gives_the_same_images(zips, cache, monkeypatch):
    first = load_omniglot(zips, cache, characters=SMALL)
    assert [path.suffix for path in cache.iterdir()] == [".cache"]
    forbid_decoding(monkeypatch)
    second = load_omniglot(zips, cache, characters=SMALL)
    assert torch.equal(pixels(first.train), pixels(second.train))


def test_changed_archives_are_decoded_again(zips, cache):
    load_omniglot(zips, cache, characters=SMALL)
    changed = dict(MEMBERS)
    changed[f"{NAMES[4]}/0004_03.png"] = png(drawing(0, 1))
    write_zips(zips, changed)
    pools = load_omniglot(zips, cache, characters=SMALL)
    assert torch.equal(pixels(pools.test)[0, 2], torch.from_numpy(read_omniglot(zips, NAMES)[0, 0]))


def test_changed_folders_are_decoded_again(tmp_path, cache):
    folders = write_folders(tmp_path / "folders", MEMBERS)
    before = load_omniglot(folders, cache, characters=SMALL)
    (folders / f"{NAMES[4]}/0004_03.png").write_bytes(png(drawing(0, 1)))
    after = load_omniglot(folders, cache, characters=SMALL)
    assert not torch.equal(pixels(before.test)[0, 2], pixels(after.test)[0, 2])


def test_another_version_of_the_decoding_does_not_use_the_cache(zips, cache, monkeypatch):
    load_omniglot(zips, cache, characters=SMALL)
    monkeypatch.setattr(archives, "_VERSION", "another")
    forbid_decoding(monkeypatch)
    with pytest.raises(AssertionError, match="decoded again"):
        load_omniglot(zips, cache, characters=SMALL)


def test_lists_with_other_characters_have_their_own_cache(zips, cache, monkeypatch):
    fewer = SMALL._replace(train=SMALL.train[:2])
    load_omniglot(zips, cache, characters=SMALL)
    load_omniglot(zips, cache, characters=fewer)
    forbid_decoding(monkeypatch)
    assert len(load_omniglot(zips, cache, characters=SMALL).train) == 12
    assert len(load_omniglot(zips, cache, characters=fewer).train) == 8


@pytest.mark.parametrize(
    "damage", ["empty", "short", "cut", "first byte", "pixel", "key", "tail", "magic", "longer", "text"]
)
def test_damaged_caches_are_made_anew(zips, cache, damage):
    good = pixels(load_omniglot(zips, cache, characters=SMALL).train)  # a copy: the file is about to be cut short
    path = cache_file(cache)
    whole = path.read_bytes()
    index = whole.rindex(b'{"made_from"')
    flipped = {"first byte": 0, "pixel": 40_000, "key": index + 20, "tail": len(whole) - 10, "magic": len(whole) - 1}
    if damage in flipped:
        broken = bytearray(whole)
        broken[flipped[damage]] ^= 16
    else:
        broken = {
            "empty": b"",
            "short": whole[:20],
            "cut": whole[: len(whole) // 2],
            "longer": whole + b"\0",
            "text": b"no cache at all" * 10,
        }[damage]
    path.write_bytes(broken)
    with pytest.warns(UserWarning, match="cache .* is damaged and is made anew"):
        again = load_omniglot(zips, cache, characters=SMALL)
    assert torch.equal(good, pixels(again.train))
    assert path.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_a_warning_not_an_error(zips, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.warns(UserWarning, match=r"cache .*file.* cannot be written .* starts over"):
        pools = load_omniglot(zips, blocked, characters=SMALL)
    assert len(pools.train) == 12


def test_a_write_that_fails_half_way_leaves_the_old_cache_and_no_litter(zips, cache, monkeypatch):
    load_omniglot(zips, cache, characters=SMALL)
    old = cache_file(cache).read_bytes()
    write_zips(zips, {**MEMBERS, f"{NAMES[4]}/0004_03.png": png(drawing(0, 1))})

    def no_space(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.warns(UserWarning, match="No space left on device"):
        load_omniglot(zips, cache, characters=SMALL)
    assert cache_file(cache).read_bytes() == old


def load_in_a_process(zips, cache, barrier, answers):
    torch.set_num_threads(1)  # OpenMP's threads do not survive a fork
    barrier.wait(timeout=60)
    answers.put(int(pixels(load_omniglot(zips, cache, characters=SMALL).train).sum()))


def test_two_processes_may_fill_the_cache_at_once(zips, cache):
    context = multiprocessing.get_context("fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn")
    barrier, answers = context.Barrier(2), context.Queue()
    workers = [
        context.Process(target=load_in_a_process, args=(zips, cache, barrier, answers), daemon=True) for _ in range(2)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons dislike fork beside threads
        for worker in workers:
            worker.start()
    sums = [answers.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(timeout=60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    expected = int(pixels(load_omniglot(zips, cache, characters=SMALL).train).sum())
    assert sums == [expected, expected]
    assert cache_file(cache).suffix == ".cache"


def test_default_cache_follows_the_environment(zips, tmp_path, monkeypatch):
    monkeypatch.delenv("METAGRAD_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    assert default_cache() == tmp_path / "home" / ".cache" / "metagrad"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache() == tmp_path / "xdg" / "metagrad"
    monkeypatch.setenv("METAGRAD_CACHE", str(tmp_path / "own"))
    assert default_cache() == tmp_path / "own"
    load_omniglot(zips, characters=SMALL)
    assert cache_file(tmp_path / "own").suffix == ".cache"


def test_no_home_directory_is_named_with_the_way_out(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("METAGRAD_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(ValueError, match=r"no home directory .* set \$METAGRAD_CACHE"):
        default_cache()
