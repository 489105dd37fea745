"""Pickles of arrays: every protocol, Python 2's, numpy's old and new names; and hostile ones, which run nothing."""

import io
import os
import pickle
import struct
from collections import OrderedDict, defaultdict

import numpy as np
import pytest

from metagrad.tasks.readers.pickles import load_pickle
from tasks import python2


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


@pytest.mark.parametrize("protocol", range(5))
def test_numpys_old_module_names(protocol):
    data = pickle.dumps(values(), protocol)
    if protocol < 4:  # names end with a line
        data = data.replace(b"cnumpy._core.", b"cnumpy.core.")
    else:  # names are counted
        assert b"\x8c\x16numpy._core.multiarray" in data
        data = pickle.dumps(values(), protocol).replace(
            b"\x8c\x16numpy._core.multiarray", b"\x8c\x15numpy.core.multiarray"
        )
        frame = len(data) - 11
        data = data[:3] + struct.pack("<Q", frame) + data[11:]
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


def setting_attributes():
    """The opcodes of `_codecs.encode` with its attributes set."""
    return b"\x80\x02c_codecs\nencode\n(N}U\x0c__defaults__(U\x05utf-8tst" + b"b."


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


def test_attributes_set_by_one_pickle_do_not_reach_the_next():
    load_pickle(io.BytesIO(setting_attributes()), "file")
    assert load_pickle(io.BytesIO(pickle.dumps({"data": b"\xff"}, 2)), "file") == {"data": b"\xff"}


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
