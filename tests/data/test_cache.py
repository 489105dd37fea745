"""The cache of decoded images: used where it may be, made anew where it may not, never half written."""

import contextlib
import hashlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from data.damage import in_place_of
from data.small_omniglot import MEMBERS, NAMES, SMALL, drawing, pixels, png, write_folders, write_zips
from metagrad.data import archives
from metagrad.data import cache as caching
from metagrad.data.archives import Inventory, read_omniglot
from metagrad.data.cache import ClassImages, cached, default_cache
from metagrad.data.omniglot import load_omniglot


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


def classes(counts=(3, 1, 2), shape=(2, 4, 4), dtype=np.uint8):
    source = np.random.default_rng(0)
    return [
        ClassImages(f"class {row}", source.integers(0, 256, (count, *shape)).astype(dtype))
        for row, count in enumerate(counts)
    ]


@pytest.mark.parametrize(("shape", "dtype"), [((2, 4, 4), np.uint8), ((5,), np.float32)])
def test_classes_of_unequal_sizes_are_mapped_in_their_order(tmp_path, shape, dtype):
    expected = classes(shape=shape, dtype=dtype)
    for _ in range(2):
        found = cached(tmp_path / "some.cache", "source", lambda: iter(expected))
        assert found.names == ("class 0", "class 1", "class 2")
        assert found.counts == (3, 1, 2)
        assert isinstance(found.images, np.memmap)
        assert found.images.dtype == dtype
        assert np.array_equal(found.images, np.concatenate([one.images for one in expected]))


def test_images_that_do_not_lie_in_order_in_memory_are_written_in_order(tmp_path):
    flipped = np.arange(48, dtype=np.uint8).reshape(2, 4, 6).transpose(0, 2, 1)[:, ::-1]
    found = cached(tmp_path / "some.cache", "source", lambda: iter([ClassImages("a", flipped)]))
    assert np.array_equal(found.images, flipped)


def test_no_more_than_a_class_is_held_while_decoding(tmp_path):
    """Each class is on its way to the disk before the next one is asked for."""
    sizes = []

    def decode():
        for one in classes(counts=(500, 500, 500), shape=(1, 32, 32)):
            sizes.append((tmp_path / "some.cache.partial").stat().st_size)
            yield one

    cached(tmp_path / "some.cache", "source", decode)
    assert sizes[0] == 0
    assert sizes[2] >= 500 * 32 * 32


def test_writing_to_mapped_images_does_not_reach_the_file(tmp_path):
    path = tmp_path / "some.cache"
    before = cached(path, "source", lambda: iter(classes()))
    whole = path.read_bytes()
    torch.from_numpy(before.images)[:] = 7
    assert path.read_bytes() == whole
    assert not (cached(path, "source", lambda: iter(classes())).images == 7).all()


def test_decoding_that_fails_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "some.cache"
    cached(path, "source", lambda: iter(classes()))
    whole = path.read_bytes()

    def decode():
        yield classes()[0]
        raise ValueError("image 3 is damaged")

    with pytest.raises(ValueError, match="image 3 is damaged"):
        cached(path, "another source", decode)
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]


def test_a_large_file_is_not_read_through_but_its_length_and_index_are_checked(tmp_path, monkeypatch):
    path = tmp_path / "some.cache"
    cached(path, "source", lambda: iter(classes()))
    whole = bytearray(path.read_bytes())
    whole[5] ^= 1
    path.write_bytes(whole)
    monkeypatch.setattr(caching, "CHECKED_TO_THE_LAST_BYTE", 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cached(path, "source", lambda: iter(()))
    path.write_bytes(whole[1:])
    with pytest.warns(UserWarning, match="is damaged and is made anew"):
        found = cached(path, "source", lambda: iter(classes()))
    assert np.array_equal(found.images[:3], classes()[0].images)


def crafted(path, **changes):
    """A cache file with other entries in its index, whose checksums are right."""
    cached(path, "source", lambda: iter(classes()))
    data = path.read_bytes()
    length, _, magic = caching._TAIL.unpack(data[-caching._TAIL.size :])
    start = len(data) - caching._TAIL.size - length
    index = json.loads(data[start : start + length])
    text = json.dumps({**index, **changes}).encode()
    path.write_bytes(data[:start] + text + caching._TAIL.pack(len(text), hashlib.sha256(text).digest(), magic))


@pytest.mark.parametrize(
    "changes",
    [
        {"dtype": "|O", "shape": [6, 4]},  # pointers: reading one would end the process
        {"dtype": "<M8[s]", "shape": [6, 4]},
        {"shape": [6, 2, 4, -4]},
        {"shape": [6, 2, 4, 4.0]},
        {"shape": [2**40, 2, 4, 4]},
        {"shape": 6},
        {"classes": [["a", 3], ["b", 4]]},
        {"classes": [["a", 6, 1]]},
        {"classes": [[1, 6]]},
        {"classes": []},
        {"sha256": None},
    ],
)
def test_an_index_of_a_stranger_is_checked_before_it_is_followed(tmp_path, changes):
    path = tmp_path / "some.cache"
    crafted(path, **changes)
    with pytest.warns(UserWarning, match="is damaged and is made anew"):
        found = cached(path, "source", lambda: iter(classes()))
    assert np.array_equal(found.images, np.concatenate([one.images for one in classes()]))


@pytest.mark.parametrize("kind", ["itself", "nothing", "pipe", "device", "file"])
def test_what_lies_in_place_of_a_cache_file_is_neither_read_nor_written_through(tmp_path, kind):
    path, other = tmp_path / "cache" / "some.cache", tmp_path / "other"
    path.parent.mkdir()
    other.write_bytes(b"somebody's")
    if kind == "file":
        path.symlink_to(other)
    else:
        in_place_of(path, kind)
    found = cached(path, "source", lambda: iter(classes()))
    assert found.names == ("class 0", "class 1", "class 2")
    assert path.is_file()
    assert not path.is_symlink()
    assert other.read_bytes() == b"somebody's"


@pytest.mark.parametrize("kind", ["symbolic", "hard", "pipe"])
def test_what_lies_in_place_of_a_half_made_file_is_not_written_to(tmp_path, kind):
    path, other = tmp_path / "cache" / "some.cache", tmp_path / "other"
    path.parent.mkdir()
    other.write_bytes(b"somebody's")
    partial = path.with_name("some.cache.partial")
    if kind == "pipe":
        in_place_of(partial, "pipe")
    else:
        (partial.symlink_to if kind == "symbolic" else partial.hardlink_to)(other)
    with pytest.warns(UserWarning, match="cannot be written .*link|cannot be written .*pipe"):
        found = cached(path, "source", lambda: iter(classes()))
    assert np.array_equal(found.images, np.concatenate([one.images for one in classes()]))
    assert other.read_bytes() == b"somebody's"


SLOW_DECODING = """
import sys, time
from pathlib import Path
import numpy as np
from metagrad.data.cache import ClassImages, cached

path, started, go_on = map(Path, sys.argv[1:])

def decode():
    started.write_text(started.read_text() + "decoding " if started.exists() else "decoding ")
    yield ClassImages("a", np.full((2, 4), 1, np.uint8))
    while not go_on.exists():
        time.sleep(0.01)
    yield ClassImages("b", np.full((3, 4), 2, np.uint8))

print(int(cached(path, "source", decode).images.sum()))
"""


@pytest.fixture
def decoding():
    """Start processes that decode; none of them outlives the test."""
    with contextlib.ExitStack() as stack:

        def start(*paths):
            command = [sys.executable, "-W", "error", "-c", SLOW_DECODING, *map(str, paths)]
            worker = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(worker.kill)
            return worker

        yield start


def wait_for(path):
    deadline = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_of_two_processes_one_decodes_and_the_other_waits_for_it(tmp_path, decoding):
    paths = tmp_path / "some.cache", tmp_path / "started", tmp_path / "go on"
    workers = [decoding(*paths) for _ in range(2)]
    wait_for(paths[1])
    time.sleep(1)  # both are there by now, or the second comes when all is done
    paths[2].touch()
    assert [worker.communicate(timeout=120)[0].strip() for worker in workers] == ["32", "32"]
    assert paths[1].read_text() == "decoding "
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.slow
def test_what_a_killed_process_left_is_in_nobodys_way(tmp_path, decoding):
    paths = tmp_path / "some.cache", tmp_path / "started", tmp_path / "go on"
    killed = decoding(*paths)
    wait_for(paths[1])
    waiting = decoding(*paths)
    time.sleep(2)  # long enough to wait for the lock
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    paths[2].touch()
    assert waiting.communicate(timeout=120)[0].strip() == "32"
    assert paths[1].read_text() == "decoding decoding "
    assert not list(tmp_path.glob("*.partial"))


STREAMING = """
import sys
from pathlib import Path
import numpy as np, torch
from metagrad.data.images import ImageEpisodes
from metagrad.data.cache import ClassImages
from metagrad.data.readers.undecoded import Undecoded, pool_of

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

def decode():
    for number in range(100):
        yield ClassImages(str(number), np.full((600, 3, 48, 48), number, np.uint8))

draws = torch.Generator().manual_seed(0)
found = Undecoded("large", Path("large"), "source", decode)
if sys.argv[2] == "write":
    pool_of(found, sys.argv[1])
else:
    torch.rand(1)
    before = resident()
    pool = pool_of(found, sys.argv[1])
    task = ImageEpisodes(pool, 5, 1, 15).sample(4, draws)
    assert float(task.query.inputs.max()) > 0
    print(resident() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells how much memory is resident")
def test_episodes_stream_from_the_file_without_reading_all_of_it(tmp_path):
    for what in ("write", "read"):
        command = [sys.executable, "-c", STREAMING, str(tmp_path), what]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert (tmp_path / "large.2.cache").stat().st_size > 400e6
    assert int(done.stdout) < 100e6
