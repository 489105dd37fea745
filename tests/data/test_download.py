"""Downloads from a server in this process: whole, resumed, refused; and what is said without the extra."""

import hashlib
import http.server
import sys
import threading
from functools import partial

import pytest

from metagrad import cli
from metagrad.data import download
from metagrad.data.download import CIFAR100, OMNIGLOT, Download, fetch

DATA = bytes(range(256)) * 4096  # 1 MiB
DIGEST = "sha256:" + hashlib.sha256(DATA).hexdigest()


class Server(http.server.BaseHTTPRequestHandler):
    """Gives DATA under any path but /absent; keeps the ranges that it was asked for in `server.asked`."""

    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        if self.path == "/absent":
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.ranges else 0
        if start >= len(DATA):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(DATA) - start))
        self.end_headers()
        self.wfile.write(DATA[start : start + self.server.breaks_after] if self.server.breaks_after else DATA[start:])

    def log_message(self, *_arguments):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as serving:
        serving.asked, serving.ranges, serving.breaks_after = [], True, 0
        thread = threading.Thread(target=partial(serving.serve_forever, poll_interval=0.01))
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


@pytest.fixture
def file(server):
    pytest.importorskip("pooch", reason="pooch is not installed: pip install 'metagrad[download]'")
    return Download(f"http://127.0.0.1:{server.server_address[1]}/archive.zip", "archive.zip", DIGEST, 1.0)


def test_a_file_is_fetched_checked_and_named(file, server, tmp_path):
    said = []
    fetch([file], tmp_path / "data" / "deeper", said.append)
    assert [path.name for path in (tmp_path / "data" / "deeper").iterdir()] == ["archive.zip"]
    assert (tmp_path / "data" / "deeper" / "archive.zip").read_bytes() == DATA
    assert said == [f"downloading {file.address} (1 MB) to {tmp_path / 'data' / 'deeper'}"]
    fetch([file], tmp_path / "data" / "deeper", said.append)
    assert len(said) == len(server.asked) == 1


def test_a_file_that_is_there_is_left_as_it_is(file, server, tmp_path):
    (tmp_path / "archive.zip").write_bytes(b"zipped again by its owner")
    fetch([file], tmp_path)
    assert (tmp_path / "archive.zip").read_bytes() == b"zipped again by its owner"
    assert server.asked == []


def test_a_transfer_that_breaks_off_goes_on_where_it_stopped(file, server, tmp_path):
    server.breaks_after = 300_000
    with pytest.raises(ValueError, match=r"could not be fetched .*; the next try goes on after \d+ bytes") as caught:
        fetch([file], tmp_path)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["archive.zip.part"]
    held = (tmp_path / "archive.zip.part").stat().st_size
    assert 200_000 < held <= 300_000
    server.breaks_after = 0
    fetch([file], tmp_path)
    assert server.asked == [None, f"bytes={held}-"]
    assert [path.name for path in tmp_path.iterdir()] == ["archive.zip"]
    assert (tmp_path / "archive.zip").read_bytes() == DATA


def test_a_server_without_ranges_begins_again(file, server, tmp_path):
    server.ranges = False
    (tmp_path / "archive.zip.part").write_bytes(DATA[:1000])
    fetch([file], tmp_path)
    assert (tmp_path / "archive.zip").read_bytes() == DATA


def test_a_transfer_that_stopped_before_its_name_was_given_is_not_repeated(file, server, tmp_path):
    (tmp_path / "archive.zip.part").write_bytes(DATA)
    fetch([file], tmp_path)
    assert server.asked == [f"bytes={len(DATA)}-"]
    assert (tmp_path / "archive.zip").read_bytes() == DATA


@pytest.mark.parametrize("held", [b"", b"other bytes"])
def test_what_is_not_the_file_is_thrown_away(file, server, tmp_path, held):
    if held:
        (tmp_path / "archive.zip.part").write_bytes(held)
    wrong = file._replace(digest="sha256:" + "0" * 64) if not held else file
    with pytest.raises(ValueError, match=r"did not give archive.zip: the digest is not sha256") as caught:
        fetch([wrong], tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_more_than_the_file_has_is_not_written(file, server, tmp_path):
    small = file._replace(megabytes=0.1)
    with pytest.raises(ValueError, match=r"did not give archive.zip"):
        fetch([small], tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_a_link_in_place_of_the_part_is_not_written_through(file, server, tmp_path, link):
    (tmp_path / "other").write_bytes(b"somebody's")
    getattr(tmp_path / "archive.zip.part", link)(tmp_path / "other")
    with pytest.raises(ValueError, match=r"could not be fetched to .*link"):
        fetch([file], tmp_path)
    assert (tmp_path / "other").read_bytes() == b"somebody's"


def test_an_address_that_is_not_there(file, server, tmp_path):
    gone = file._replace(address=file.address.replace("archive.zip", "absent"))
    with pytest.raises(ValueError, match=r"could not be fetched to .* \(404 .*\); try again, or get it by hand"):
        fetch([gone], tmp_path)
    server.shutdown()
    server.server_close()
    with pytest.raises(ValueError, match="could not be fetched") as caught:
        fetch([file], tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_made(file, tmp_path):
    (tmp_path / "blocked").write_text("in the way")
    with pytest.raises(ValueError, match="could not be fetched to"):
        fetch([file], tmp_path / "blocked" / "data")


def test_without_pooch_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ValueError, match=r"needs the package pooch: pip install 'metagrad\[download\]'"):
        fetch(CIFAR100, tmp_path)
    assert not list(tmp_path.iterdir())


def test_addresses_are_whole():
    for file in (*OMNIGLOT, *CIFAR100):
        assert file.address.startswith("https://")
        assert file.address.endswith(file.name)
        kind, _, digest = file.digest.partition(":")
        assert len(digest) == {"md5": 32, "sha256": 64}[kind]
        assert file.megabytes > 1


@pytest.fixture
def fetched(monkeypatch):
    """Calls of `fetch` from the command line, which fetch nothing."""
    calls = []
    monkeypatch.setattr("metagrad.experiments.downloading.fetch", lambda files, place, _: calls.append((files, place)))
    monkeypatch.delenv("METAGRAD_DATA", raising=False)
    return calls


@pytest.mark.parametrize(
    ("preset", "files", "folder"),
    [
        ("omniglot-5way-1shot", OMNIGLOT, "omniglot"),
        ("cifar-fs-5way-1shot", CIFAR100, "cifar100"),
        ("fc100-5way-5shot", CIFAR100, "cifar100"),
    ],
)
def test_the_flag_fetches_what_the_preset_needs(preset, files, folder, fetched, tmp_path, capsys):
    assert cli.main(["train", preset, "--data", str(tmp_path), "--download"]) == 2  # nothing came
    assert fetched == [(files, tmp_path / folder)]
    assert "error" in capsys.readouterr().err
    for file in files:
        (tmp_path / file.name).write_bytes(b"by hand")
    cli.main(["train", "--download", preset, "--data", str(tmp_path)])
    assert len(fetched) == 1
    cli.main(["train", preset, "--data", str(tmp_path)])
    assert len(fetched) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("sinusoid", "makes its tasks itself: --download has no use here"),
        ("mnist1d-5way-1shot", "makes its tasks itself: --download has no use here"),
        ("mini-imagenet-5way-1shot --data {tmp}", "mini-imagenet cannot be downloaded here"),
        ("tiered-imagenet-5way-5shot --data {tmp}", "tiered-imagenet cannot be downloaded here"),
        ("folder-5way-1shot --data {tmp}", "a folder of your own images cannot be downloaded"),
        ("cifar-fs-5way-1shot", "--download needs a place for the files: give --data DIR, or set $METAGRAD_DATA"),
    ],
)
def test_what_cannot_be_downloaded_is_said(arguments, sentence, fetched, tmp_path, capsys):
    assert cli.main(["train", *arguments.format(tmp=tmp_path).split(), "--download"]) == 2
    errors = capsys.readouterr().err
    assert sentence in errors
    assert errors.count("\n") == 1
    assert fetched == []


def test_nothing_is_fetched_unless_asked_for(monkeypatch, tmp_path, capsys):
    def forbidden(*_arguments):
        raise AssertionError("a download without --download")

    monkeypatch.setattr(download, "_fetch_one", forbidden)
    assert cli.main(["train", "cifar-fs-5way-1shot", "--data", str(tmp_path)]) == 2
    assert "holds no CIFAR-FS" in capsys.readouterr().err
