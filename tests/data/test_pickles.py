"""Pickles of arrays: every protocol, Python 2's, numpy's old and new names; and hostile ones, which run nothing."""

import io
import os
import pickle
import re
import struct
from collections import OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest

from data import python2
from data.fuzzing import run_in_child
from metagrad import cli
from metagrad.data.readers.pickles import load_pickle


def lists():
    grouped = defaultdict(list)
    grouped["n01532829"] += [0, 2]
    return grouped


def values():
    return {
        "pixels": np.arange(2 * 3 * 400, dtype=np.uint8).reshape(2, 3, 400),
        "column major": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "other byte order": np.arange(3, dtype=">i4"),
        "nothing": np.zeros((0, 3), np.int64),
        "labels": [np.int32(3), np.int64(-2), 7],
        "names": np.array(["n01", "n0153"]),
        "by class": lists(),
        "ordered": OrderedDict(n01=[1]),
        "png": [np.frombuffer(b"\x89PNG\xff\x00", np.uint8).reshape(-1, 1)],
    }


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        if isinstance(value, np.ndarray):
            assert np.array_equal(found[key], value), key
            assert found[key].dtype.newbyteorder("=") == value.dtype.newbyteorder("="), key
        elif key == "png":
            assert [one.tolist() for one in found[key]] == [one.tolist() for one in value]
        else:
            assert found[key] == value, key


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_of_python_3(protocol):
    data = pickle.dumps(values(), protocol)
    assert_same(load_pickle(io.BytesIO(data), "file"), values())


def old_names(data):
    """The pickle with the names that numpy's modules had before 2.0."""
    if data[:1] != b"\x80" or data[1] < 4:  # names end with a line
        return data.replace(b"cnumpy._core.", b"cnumpy.core.")
    data = data.replace(b"\x8c\x16numpy._core.multiarray", b"\x8c\x15numpy.core.multiarray")  # names are counted
    return data[:3] + struct.pack("<Q", len(data) - 11) + data[11:]


@pytest.mark.parametrize("protocol", range(5))
def test_numpys_old_module_names(protocol):
    data = old_names(pickle.dumps(values(), protocol))
    assert b"numpy.core.multiarray" in data
    assert b"_core" not in data
    assert_same(load_pickle(io.BytesIO(data), "file"), values())


def test_python_2():
    expected = values()
    del expected["names"], expected["ordered"]  # text of four bytes a letter is not what Python 2 had
    data = python2.dumps(expected)
    assert b"_codecs" not in data
    assert b"numpy.core.multiarray" in data
    assert_same(load_pickle(io.BytesIO(data), "file"), expected)


def test_keys_of_bytes_become_text():
    found = load_pickle(io.BytesIO(pickle.dumps({b"data": [1], "inner": {b"n01": b"kept"}})), "file")
    assert found == {"data": [1], "inner": {"n01": b"kept"}}


class Hostile:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_hostile_pickles_run_nothing(tmp_path):
    touched = tmp_path / "touched"
    attacks = [
        Hostile(os.system, f"touch {touched}"),
        Hostile(exec, f"open({str(touched)!r}, 'w')"),
        Hostile(open, str(touched), "w"),
        Hostile(getattr, "", "join"),
        Hostile(np.load, str(touched), None, True),
        Hostile(np.dtype),
        {"image_data": np.zeros(2, np.uint8), "class_dict": Hostile(os.system, f"touch {touched}")},
        np.array([Hostile(os.system, f"touch {touched}")], dtype=object),
    ]
    for attack in attacks:
        for protocol in (0, 2, 4):
            data = pickle.dumps(attack, protocol)
            with pytest.raises(ValueError, match="file cannot be read as a pickle of arrays") as caught:
                load_pickle(io.BytesIO(data), "file")
            assert "\n" not in str(caught.value)
            assert not touched.exists()
    pickle.loads(pickle.dumps(attacks[0]))
    assert touched.exists()  # so the attack is one


def test_a_refusal_names_what_was_asked_for_and_does_not_import_it():
    with pytest.raises(ValueError, match=r"it asks for antigravity.fly, neither an array nor a container"):
        load_pickle(io.BytesIO(b"cantigravity\nfly\n."), "file")


ARRAY_OVER_ITS_OWN_BYTES = (
    b"\x80\x02cnumpy\nndarray\n(K\x01\x85cnumpy\ndtype\nU\x02O8K\x00K\x01\x87RU\x08AAAAAAAAtR]\x94a."
)

HOSTILE = {
    "an object array over bytes of the file": (ARRAY_OVER_ITS_OWN_BYTES, "type 'O8'"),
    "the same of plain numbers": (ARRAY_OVER_ITS_OWN_BYTES.replace(b"O8", b"u1"), "by its shape and address"),
    "a list that holds itself and such an array": (
        b"\x80\x02]q\x00h\x00a" + ARRAY_OVER_ITS_OWN_BYTES[2:-1] + b"a.",
        "type 'O8'",
    ),
    "a new array by its class": (b"\x80\x02cnumpy\nndarray\nK\x01\x85\x85\x81.", "the opcode NEWOBJ"),
    "an instance of a class": (b"(inumpy\nndarray\n.", "the opcode INST"),
    "an object of a persistent id": (b"Pnumpy\n.", "the opcode PERSID"),
    "a dtype whose size is not its own": (
        b"\x80\x02cnumpy\ndtype\nU\x02S8K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb.",
        "a type that is not plain",
    ),
    "a key of many tuples in one another": (b"\x80\x02})" + b"\x85" * 200_000 + b"Ns.", "a key of type tuple"),
    "four million lists": (b"\x80\x02(" + b"]" * 2**22 + b"l.", "far more than the file is long"),
    "copies of a list": (
        b"\x80\x02cbuiltins\nset\nq\x00(" + b"K\x01" * 10**5 + b"lq\x01(" + b"h\x00h\x01\x85R" * 10**3 + b"l.",
        "far more than the file is long",
    ),
    "copies of a text": (
        b"\x80\x02(c_codecs\nencode\nq\x00X\x40\x42\x0f\x00"
        + b"a" * 10**6
        + b"q\x01"
        + b"h\x00h\x01\x85R" * 10**4
        + b"l.",
        "far more than the file is long",
    ),
    "more bytes than the file has": (b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f.", "Ran out of input"),
    "attributes of a function": (
        b"\x80\x02c_codecs\nencode\n(N}U\x0c__defaults__(U\x05utf-8tst" + b"b.",
        "sets the state",
    ),
}


@pytest.mark.parametrize(("data", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_what_no_array_needs_is_refused(data, reason):
    with pytest.raises(ValueError, match="file cannot be read as a pickle of arrays") as caught:
        load_pickle(io.BytesIO(data), "file")
    assert reason in str(caught.value)


@pytest.mark.parametrize("data", [data for data, _ in HOSTILE.values()][:3])
def test_a_hostile_cache_is_one_sentence_at_the_command_line(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("METAGRAD_CACHE", str(tmp_path / "cache"))
    for part in ("train", "val", "test"):
        (tmp_path / f"mini-imagenet-cache-{part}.pkl").write_bytes(data)
    assert cli.main(["train", "mini-imagenet-5way-1shot", "--data", str(tmp_path), "--out", str(tmp_path / "run")]) == 2
    errors = capsys.readouterr().err
    assert "mini-imagenet-cache-train.pkl cannot be read as a pickle of arrays" in errors
    assert errors.count("\n") == 1


def test_escape_sequences_of_a_pickle_do_not_reach_the_message():
    with pytest.raises(ValueError, match=re.escape("it asks for �[2J�.x, neither")) as caught:
        load_pickle(io.BytesIO(b"\x80\x02X\x05\x00\x00\x00\x1b[2J\x07X\x01\x00\x00\x00x\x93."), "file")
    assert str(caught.value).isprintable()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is bounded by what Linux tells")
def test_damaged_pickles_give_a_sentence_or_what_python_reads():
    ends = run_in_child("fuzz_pickles", seed=19)
    assert min(ends["right"], ends["images"]) > 5  # thousands of draws, but on a busy machine
    assert ends["refused"] > ends["tried"] / 2


def state_of(array, **changes):
    """A pickle of an array whose state is not what numpy would write."""
    entries = dict(zip(("version", "shape", "dtype", "fortran", "raw"), array.__reduce__()[2], strict=True))
    state = tuple({**entries, **changes}.values())

    class Array:
        def __reduce__(self):
            return (*array.__reduce__()[:2], state)

    return pickle.dumps(Array(), 2)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "Ran out of input"),
        (b"no pickle", ""),
        (pickle.dumps(values())[:-20], ""),
        (pickle.dumps(values(), 2)[:50], ""),
        (pickle.dumps(np.zeros(2, dtype=[("a", "i4")])), "an array of type 'V4'"),
        (pickle.dumps(np.array([{}], dtype=object)), "an array of type 'O8'"),
        (state_of(np.zeros(4, np.uint8), shape=(1000,)), "an array of 1000 bytes without them"),
        (state_of(np.zeros(4, np.uint8), shape=(-4,)), "an array of shape"),
        (state_of(np.zeros(4, np.uint8), raw=[1, 2, 3, 4]), "without them"),
        (state_of(np.zeros(4, np.uint8), dtype="u1"), "an array of type 'u1'"),
        (b"\x80\x02ccollections\nOrderedDict\n(U\x01atR.", ""),
    ],
)
def test_damaged_pickles_are_refused_in_one_sentence(data, reason):
    with pytest.raises(ValueError, match="some file cannot be read as a pickle of arrays") as caught:
        load_pickle(io.BytesIO(data), "some file")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
