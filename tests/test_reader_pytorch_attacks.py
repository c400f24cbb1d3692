"""Files made to run code, or to exhaust time or memory, when PyTorch's files are read."""

from __future__ import annotations

import builtins
import io
import os
import pickle
import struct
import subprocess
import time
import tracemalloc
import zipfile

import pytest

from tests.mutations import assert_refused, one_line_error
from tests.torch_files import (
    MAGIC,
    ORDERED_DICT,
    Raw,
    Runs,
    called,
    legacy_file,
    named,
    opcodes,
    pickled,
    storage,
    tensor,
    zip_file,
)
from weights_convert.readers import restricted_pickle
from weights_convert.readers.pytorch import read

TENSOR = tensor(storage("0", "Float", 1), 0, (1,), (1,))
STORAGE = {"0": bytes(4)}


def exploits(marker):
    """Return pickles that make the file `marker` when Python's pickle reads them, by what they use."""
    shell = f"echo > {marker}"
    code = f"open({str(marker)!r}, 'w').close()"
    line, system = f"V{shell}\n".encode(), b"cos\nsystem\n"
    return {
        **{f"os.system, protocol {n}": pickle.dumps(Runs(os.system, shell), n) for n in range(6)},
        "eval": pickle.dumps(Runs(builtins.eval, code), 2),
        "exec": pickle.dumps(Runs(builtins.exec, code), 2),
        "subprocess": pickle.dumps(Runs(subprocess.check_call, ["sh", "-c", shell]), 2),
        "open": pickle.dumps(Runs(open, str(marker), "w"), 2),
        "REDUCE": system + b"(" + line + b"tR.",
        "INST": b"(" + line + b"ios\nsystem\n.",
        "OBJ": b"(" + system + line + b"o.",
        "NEWOBJ": b"\x80\x02cbuiltins\ntuple\n(cbuiltins\nmap\n(cos\nsystem\n](" + line + b"et\x81t\x81.",
        "NEWOBJ_EX": b"\x80\x04cbuiltins\ntuple\n(cbuiltins\nmap\n(cos\nsystem\n](" + line + b"et}\x92t}\x92.",
        "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93(" + line + b"tR.",
        "BUILD": b"cstring\nFormatter\n)R}(Vx\ncos\nsystem\nub0cos\nsystem\n(" + line + b"tR.",
        "getattr of a name": b"\x80\x04cos\npath.os.system\n(" + line + b"tR.",
        "getattr by call": b"cbuiltins\ngetattr\n(cbuiltins\n__import__\n(Vos\ntRVsystem\ntR(" + line + b"tR.",
        "nested pickle": pickle.dumps(Runs(pickle.loads, pickle.dumps(Runs(os.system, shell), 4)), 3),
        "after a state dict": pickled({"w": 1.0})[:-1] + b"0" + system + b"(" + line + b"tR.",
        "as a value": pickled({"w": 1.0, "evil": Raw(system + b"(" + line + b"tR")}),
        "as a key": pickled({"w": 1.0})[:-1] + system + b"(" + line + b"tRNs.",
        "memo": b"\x80\x02" + system + b"q\x00h\x00(" + line + b"tR.",
    }


NAMES = list(exploits("marker"))


@pytest.mark.parametrize("name", NAMES)
def test_each_exploit_runs_under_pythons_own_pickle(tmp_path, name):
    """Without this the tests below could pass on pickles that do nothing."""
    marker = tmp_path / "marker"
    result = pickle.loads(exploits(marker)[name])
    if name == "open":
        result.close()
    assert marker.exists()


PLACES = {
    "zip": lambda content: zip_file(content, STORAGE),
    "legacy, the object": lambda content: legacy_file(content),
    "legacy, the version": lambda content: legacy_file(pickled({"w": 1}), version=content),
    "legacy, the machine": lambda content: legacy_file(pickled({"w": 1}), machine=content),
    "legacy, the keys": lambda content: legacy_file(pickled({"w": TENSOR}), {"0": (1, bytes(4))}, keys=content),
    "legacy, the magic number": lambda content: content,
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_would_run_code_is_refused_before_anything_runs(tmp_path, name, place):
    marker = tmp_path / "marker"
    path = tmp_path / "weights.pth"
    path.write_bytes(place(exploits(marker)[name]))
    assert one_line_error(read, path) is not None
    assert not marker.exists()


def test_an_honest_file_around_the_exploits_is_read(tmp_path):
    """The files above are refused for what was put into them, not for how the tests make them."""
    path = tmp_path / "weights.pth"
    path.write_bytes(PLACES["zip"](pickled({"w": TENSOR})))
    assert list(read(path)) == ["w"]
    path.write_bytes(PLACES["legacy, the keys"](pickled(["0"])))
    assert list(read(path)) == ["w"]


EVIL = named("os", "system")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (EVIL, "found the Python object 'os.system'"),
        (named("collections", "OrderedDict.fromkeys"), "found the Python object 'collections.OrderedDict.fromkeys'"),
        (named("torch._utils", "_rebuild_tensor_v2.__globals__"), "found the Python object"),
        (named("torch.serialization", "os.system"), "found the Python object"),
        (named("torch.storage", "_load_from_bytes"), "found the Python object 'torch.storage._load_from_bytes'"),
        (named("torch.jit", "load"), "found the Python object"),
        (named("numpy.core.multiarray", "_reconstruct"), "found the Python object"),
        (named("torch\x1b[2J", "x"), "found the Python object 'torch\\x1b[2J.x'"),
        (Raw(b"c" + b"a" * 300 + b"\nx\n"), "expected a name of at most 256 bytes"),
        (called(Raw(b"N"), 1), "expected the arguments of a tensor or container"),
        (called(named("torch", "float32"), 1), "expected the arguments of a tensor or container"),
        (called(named("torch", "FloatStorage"), 1), "expected the arguments of a tensor or container"),
        (called(ORDERED_DICT, 1), "expected the arguments of a tensor or container"),
        (Raw(opcodes(named("torch", "Size")) + b"]R"), "found list"),
        (called(named("collections", "OrderedDict"), [("a", 1)]), "expected an OrderedDict made empty"),
        (called(named("torch", "Size"), 1), "expected a torch.Size made of a tuple"),
        (called(named("torch._utils", "_rebuild_parameter"), 1, True, {}), "expected the three arguments"),
        (Raw(TENSOR.opcodes + b"}b"), "expected a dict on the stack, found Tensor"),
        (
            Raw(opcodes(("module", named("torch", "Size"), "f.py", "code")) + b"Q"),
            "expected an identifier of a storage",
        ),
        (Raw(opcodes("0") + b"Q"), "expected an identifier of a storage"),
        (Raw(b"P0\n"), "found the operation PERSID"),
        (Raw(b"\x82\x01"), "found the operation EXT1"),
        (Raw(b"2"), "found the operation DUP"),
        (Raw(b"\xff"), "found the operation ff"),
    ],
    ids=str,
)
def test_nothing_leads_from_what_is_admitted_to_more(tmp_path, value, expected):
    assert_refused(read, zip_file(pickled({"w": TENSOR, "x": value}), STORAGE), tmp_path / "weights.pth", expected)


def view(total=4, offset=0, shape=(2,), strides=(1,), kind="Float"):
    return tensor(storage("0", kind, total), offset, shape, strides)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (view(shape=(5,)), "expected a tensor within its storage of 4 elements, found element 4"),
        (view(offset=3), "found element 4"),
        (view(strides=(4,)), "found element 4"),
        (view(offset=-1), "as natural numbers"),
        (view(shape=(-2,)), "as natural numbers"),
        (view(strides=(-1,)), "as natural numbers"),
        (view(shape=(2.0,)), "as natural numbers"),
        (view(shape=(True,)), "as natural numbers"),
        (view(shape=(2, 1)), "expected as many strides as axes"),
        (view(shape=(1,) * 33, strides=(1,) * 33), "at most 32"),
        (view(shape=[2]), "expected a tensor's storage, offset, shape and strides"),
        (view(total=2**40), "expected 4,398,046,511,104 bytes in record"),
        (view(total=-4, shape=()), "expected a part of a storage"),
        (view(shape=(2**47,), strides=(0,)), "expected at most"),
        (view(shape=(0, 2**47), strides=(1, 1)), "expected at most"),
        (view(shape=(2**47,) * 32, strides=(0,) * 32), "expected at most"),
        (view(kind="ComplexFloat"), "found the Python object 'torch.ComplexFloatStorage'"),
        (view(kind="QInt8"), "found the Python object 'torch.QInt8Storage'"),
        (tensor(storage("0", "Float", 4), 0, (1,), (1,), {"neg": True}), "expected the six arguments of a tensor"),
        (called(named("torch._utils", "_rebuild_tensor_v2"), 1), "expected the six arguments of a tensor"),
        (tensor(Raw(b"N"), 0, (1,), (1,)), "expected a tensor's storage, offset, shape and strides"),
        (tensor(storage("../0", "Float", 4), 0, (1,), (1,)), "record 'archive/data/../0', found none"),
        (tensor(storage("0", "Float", 4, ("v", 3, 2)), 0, (1,), (1,)), "expected a part of a storage"),
    ],
    ids=str,
)
def test_a_tensor_that_does_not_fit_its_file_is_refused_without_taking_memory(tmp_path, value, expected):
    content = zip_file(pickled({"w": value}), {"0": bytes(16)})
    tracemalloc.start()
    try:
        assert_refused(read, content, tmp_path / "weights.pth", expected)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_many_tensors_of_one_storage_cannot_exhaust_memory(tmp_path):
    big = {f"w{i}": tensor(storage("0", "Float", 1 << 18), 0, (1 << 18,), (1,)) for i in range(100)}
    content = zip_file(pickled(big), {"0": bytes(1 << 20)})
    assert_refused(read, content, tmp_path / "weights.pth", "bytes of tensors in")


@pytest.mark.parametrize(
    ("pickle_bytes", "expected"),
    [
        (b"\x80\x02" + b"N" * 2_000_000 + b".", "expected a pickle of at most 2,000,000 operations"),
        (b"\x80\x02X\xff\xff\xff\xff.", "expected more of a pickle, found its end"),
        (b"\x80\x02\x8a\x09" + bytes(9) + b".", "expected integers of at most 8 bytes, found 9"),
        (b"\x80\x02\x8b\x00\x00\x00\x40.", "found the operation LONG4"),
        (b"\x80\x02}" + b"(" * 1_000_000 + b".", "expected a value on the stack"),
        (b"\x80\x02" + b")" + b"\x85" * 1_000_000 + b".", "found a tuple"),
        # a tuple of tuples of tuples ..., twice each: 2**60 elements to hash, compare or print, in 240 bytes
        (
            b"\x80\x02Nq\x00" + b"h\x00h\x00\x86q\x00" * 60 + b"}h\x00Ns.",
            "expected text or numbers as keys, found tuple",
        ),
        (b"\x80\x02Nq\x00" + b"h\x00h\x00\x86q\x00" * 60 + b".", "found a tuple"),
        (b"\x80\x02]q\x00" + b"h\x00a" * 1000 + b".", "found a list"),  # in itself
        (b"\x80\x02}q\x00X\x05\0\0\0modelh\x00s.", "expected a state dict"),  # in itself
        (b"\x80\x02Nr\xff\xff\xff\xff.", "found a NoneType"),  # a memo of 4 billion places, all but one unset
        (b"\x80\x02h\x07.", "expected memo 7 to be set"),
        (b"\x80\x02.", "expected a value on the stack"),
        (b"\x80\x02t.", "expected a mark on the stack"),
        (b"\x80\x02}(K", "expected more of a pickle"),
        (b"\x80\x02}(K\x01u.", "found an odd number of items"),
        (b"\x80\x02X\x01\0\0\0\xff.", "expected text in UTF-8"),
    ],
    ids="operations text integer long4 marks depth key double list dict memo unset empty unmarked cut odd utf8".split(),
)
def test_a_pickle_cannot_exhaust_time_or_memory(tmp_path, pickle_bytes, expected):
    begin = time.monotonic()
    assert_refused(read, zip_file(pickle_bytes), tmp_path / "weights.pth", expected)
    assert time.monotonic() - begin < 20


def test_a_pickle_has_a_limit_in_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(restricted_pickle, "MAX_BYTES", 1000)
    content = zip_file(pickled({"w": TENSOR, "x": "y" * 1000}), STORAGE)
    assert_refused(read, content, tmp_path / "weights.pth", "expected more of a pickle")


def test_a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path):
    content = zip_file(b"N" * (1 << 24), compression=zipfile.ZIP_DEFLATED)
    assert len(content) < 1 << 16
    assert_refused(read, content, tmp_path / "weights.pth", "found compression method 8")


def test_a_record_that_is_there_twice_is_refused(tmp_path):
    buffer = io.BytesIO(zip_file(pickled({"w": TENSOR}), STORAGE))
    with zipfile.ZipFile(buffer, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("archive/data.pkl", pickle.dumps(Runs(os.system, "false"), 2))
    assert_refused(read, buffer.getvalue(), tmp_path / "weights.pth", "found 'archive/data.pkl' twice")


def test_two_pickles_in_one_archive_are_refused(tmp_path):
    buffer = io.BytesIO(zip_file(pickled({"w": TENSOR}), STORAGE))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("b/data.pkl", pickle.dumps(Runs(os.system, "false"), 2))
    assert_refused(read, buffer.getvalue(), tmp_path / "weights.pth", "expected one data.pkl")


def _directory(content):
    """Return where the central directory of a small archive begins."""
    return struct.unpack_from("<I", content, len(content) - 6)[0]


def test_a_directory_that_says_another_name_than_the_record_is_refused(tmp_path):
    content = zip_file(pickled({"w": TENSOR}), STORAGE)
    start = _directory(content)
    other = content[:start].replace(b"archive/data/0", b"archive/data/1") + content[start:]
    assert_refused(read, other, tmp_path / "weights.pth", "found one of another name")


def test_overlapping_records_are_refused(tmp_path):
    """A thousand names for the same gigabyte would be a terabyte to read."""
    names = {str(i): bytes(1000) for i in range(10, 20)}
    content = bytearray(zip_file(pickled({"w": TENSOR}), names))
    entries = [i for i in range(_directory(content), len(content) - 4) if content[i : i + 4] == b"PK\x01\x02"]
    for at in entries[1:]:
        local = struct.unpack_from("<I", content, at + 42)[0]
        longer = _directory(content) - local - 30 - len("archive/data/10")
        struct.pack_into("<2I", content, at + 20, longer, longer)
    assert_refused(read, bytes(content), tmp_path / "weights.pth", "found more: they overlap")


def test_a_record_that_reaches_into_the_directory_is_refused(tmp_path):
    content = bytearray(zip_file(pickled({"w": TENSOR}), STORAGE))
    last = content.rindex(b"PK\x01\x02")
    struct.pack_into("<2I", content, last + 20, 5, 5)
    assert_refused(read, bytes(content), tmp_path / "weights.pth", "expected the 5 bytes of record 'archive/data/0'")


def test_a_directory_of_another_length_than_it_says_is_refused(tmp_path):
    content = bytearray(zip_file(pickled({"w": TENSOR}), STORAGE))
    content[-10] -= 1
    assert_refused(read, bytes(content), tmp_path / "weights.pth", "expected the archive's directory to end at byte")


def test_an_encrypted_record_is_refused(tmp_path):
    content = bytearray(zip_file(pickled({"w": TENSOR}), STORAGE))
    content[_directory(content) + 8] |= 1
    assert_refused(read, bytes(content), tmp_path / "weights.pth", "found it encrypted")


def test_a_directory_of_more_entries_than_any_model_is_refused(tmp_path):
    content = zip_file(pickled({"w": TENSOR}), STORAGE)
    zip64 = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 0, 0, 0, 0, 1 << 40, 1 << 40, 1 << 50, 0)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, len(content) - 22, 1)
    content = content[:-22] + zip64 + locator + content[-22:]
    assert_refused(read, content, tmp_path / "weights.pth", "expected at most 131,072 records")


def test_the_magic_number_of_the_legacy_format_is_pickles_own():
    assert pickle.dumps(0x1950A86A20F9469CFC6C, 2) == MAGIC
