"""Reading and writing files: whatever is in them, one line says what is wrong and where."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.hardware import Hardware
from hw.library import load_hardware, preset_names
from models.library import load_network, network_names
from models.network import Network
from overlapim_files import InputError, digest, dump, load, parse, write_parts, write_text

TOY = dump(load_hardware("toy"))


def failure(text: str, model: type[Hardware] | type[Network] = Hardware) -> str:
    with pytest.raises(InputError) as error:
        parse(text, model, "file.yaml")
    message = str(error.value)
    assert message.isprintable()
    assert len(message) < 900
    return message


def load_failure(path: Path) -> str:
    with pytest.raises(InputError) as error:
        load(path, Hardware)
    assert str(error.value).isprintable()
    assert str(path) in str(error.value)
    return str(error.value)


LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{c}: &{c} [*{p}, *{p}]\n" for p, c in zip("abcdef", "bcdefg", strict=True)
)

NOT_PLAIN = {
    "billion laughs": (LAUGHS, "file.yaml:1: anchors and aliases"),
    "alias": ("a: *b", "anchors and aliases"),
    "python tag": ("a: !!python/object/apply:os.system [ls]", "file.yaml:1: tags such as"),
    "merge key": ("\n<<: {a: 1}", "file.yaml:2: merge keys"),
    "deep lists": ("[" * 100_000, "nested more than 40 deep"),
    "deep mappings": ("{a: " * 100_000, "nested more than 40 deep"),
    "deep keys": ("? " * 100_000, "nested more than 40 deep"),
    "deep dashes": ("- " * 100_000, "nested more than 40 deep"),
    "duplicate key": ("a: 1\nb: 2\na: 3", "file.yaml:3: the key 'a' is given twice"),
    "two documents": ("a: 1\n---\nb: 1", "file.yaml:2: a second document"),
    "false key": ("no: 1", "the key no means false in YAML; quote it: 'no'"),
    "integer key": ("1: 1", "the key 1 means 1 in YAML; quote it"),
    "list key": ("? [a]\n: 1", "a key must be text"),
    "absurd integer": ("a: 1\nb: " + "9" * 5000, "file.yaml:2: an integer of 5000 digits"),
    "syntax": ("a: 1\nb: [", "file.yaml:3: not valid YAML"),
    "tab": ("a:\n\t- b", "file.yaml:2: not valid YAML"),
    "list": ("- a", "file.yaml:1: a mapping of keys to values is needed, found a list of 1"),
    "text": ("hello", "a mapping of keys to values is needed, found 'hello'"),
    "only comments": ("# nothing\n", "the file is empty"),
    "no format": ("name: x", "the key 'format' is missing; 'format: overlapim/hardware/1' is needed"),
    "long key": ("format: overlapim/hardware/1\n? " + "k" * 10_000 + "\n: 1", "unknown key 'kkk"),
    "control characters": ('format: overlapim/hardware/1\n"\\e[31m\\n": 1', r"unknown key '\x1b[31m\n'"),
}


@pytest.mark.parametrize(("text", "message"), NOT_PLAIN.values(), ids=NOT_PLAIN)
def test_what_is_not_plain_data_is_refused(text: str, message: str) -> None:
    assert message in failure(text)


def test_too_many_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("overlapim_files.plain_yaml.MAX_VALUES", 100)
    assert "more than 100 values" in failure("a: [" + "1," * 200 + "]")


BYTES = {
    "empty": (b"", "the file is empty"),
    "blank": (b" \n\n", "the file is empty"),
    "nul": (b"a: 1\nb: \0", ":2: not a text file"),
    "binary": (bytes(range(256)), "not a text file"),
    "latin-1": (b"a: 1\nname: \xe9", ":2: not a text file: this is not UTF-8"),
    "utf-16": ("format: x".encode("utf-16"), "not a text file"),
}


@pytest.mark.parametrize(("raw", "message"), BYTES.values(), ids=BYTES)
def test_what_is_not_text_is_refused(raw: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_bytes(raw)
    assert message in load_failure(path)


def test_byte_order_mark_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + TOY.encode())
    assert load(path, Hardware) == load_hardware("toy")


def test_too_large(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    with path.open("wb") as file:
        file.write(b"a: 1\n")
        file.truncate(64 * 2**20 + 1)
    assert "larger than 64 MiB" in load_failure(path)


def test_missing(tmp_path: Path) -> None:
    assert "no such file" in load_failure(tmp_path / "missing.yaml")


def test_directory(tmp_path: Path) -> None:
    assert "is a directory" in load_failure(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "a regular file is needed" in load_failure(tmp_path / "pipe")


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs devices")
def test_device() -> None:
    assert "a regular file is needed" in load_failure(Path("/dev/zero"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    path = tmp_path / "secret.yaml"
    path.write_text(TOY)
    path.chmod(0)
    assert "permission denied" in load_failure(path)


@pytest.mark.parametrize("name", ["a\0b", "\udcff", "x" * 5000, "a\nb"])
def test_odd_file_names(name: str) -> None:
    with pytest.raises(InputError) as error:
        load(name, Hardware)
    assert str(error.value).isprintable()


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes_give_one_line(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(raw)
    load_failure(path)


@given(st.text(st.characters() | st.sampled_from("0123456789_.eE+-:[]{}&*!|>'\"#%@ \n"), max_size=80))
def test_any_text_gives_one_line(text: str) -> None:
    failure(text)
    failure(f"format: {text}")
    failure(TOY.replace("clock_ns: 1.0", f"clock_ns: [{text}]"))


@pytest.mark.parametrize(
    "number", ["1_", "1_.5", "1._", ".5_", "1_0", "-.inf", "+.inf", ".nan", "1:30.5", "0b1_", "0x_"]
)
def test_odd_numbers(number: str) -> None:
    failure(f"format: {number}")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize("model", [Hardware, Network])
@given(data=st.data())
def test_any_value_anywhere_gives_one_line(
    model: type[Hardware] | type[Network], data: st.DataObject
) -> None:
    record = load_hardware("toy") if model is Hardware else load_network("toy")
    content = record.model_dump(mode="json", by_alias=True)
    keys = [key for key in content if key not in ("format", "name", "source")]
    content[data.draw(st.sampled_from(keys))] = data.draw(VALUES)
    try:
        parse(_as_yaml(content), model, "file.yaml")
    except InputError as error:
        assert str(error).isprintable()


def _as_yaml(content: object) -> str:
    import yaml

    return str(yaml.safe_dump(content, sort_keys=False))


# Round trips


@pytest.mark.parametrize("name", preset_names())
def test_hardware_round_trip(name: str, tmp_path: Path) -> None:
    write_text(tmp_path / "chip.yaml", dump(load_hardware(name)))
    assert load(tmp_path / "chip.yaml", Hardware) == load_hardware(name)


@pytest.mark.parametrize("name", network_names())
def test_network_round_trip(name: str) -> None:
    assert parse(dump(load_network(name)), Network, "x") == load_network(name)


@given(name=st.text(min_size=1, max_size=200), source=st.text())
def test_any_text_survives(name: str, source: str) -> None:
    chip = load_hardware("toy").model_copy(update={"name": name, "source": source})
    assert parse(dump(chip), Hardware, "x") == chip


@pytest.mark.parametrize(
    "name", ["no", "1", "1e5", "017", "1:30", "2024-01-01", "null", "~", "=", "<<", "a: b", "#"]
)
def test_names_that_look_like_something_else(name: str) -> None:
    chip = load_hardware("toy").model_copy(update={"name": name})
    assert parse(dump(chip), Hardware, "x") == chip


def test_dump_is_readable() -> None:
    lines = dump(load_network("toy")).splitlines()
    assert lines[0] == "format: overlapim/network/1"
    assert "      h: {terms: {P: 1, R: 1}, offset: -1}" in lines


def test_digest_ignores_the_layout() -> None:
    chip = load_hardware("toy")
    first, *others = TOY.splitlines(keepends=True)
    moved = "# a comment\n" + "".join(others) + first
    assert digest(parse(moved, Hardware, "x")) == digest(chip)
    assert digest(chip.with_weights("static")) != digest(chip)


# Writing


def test_write_replaces(tmp_path: Path) -> None:
    path = tmp_path / "out.yaml"
    write_text(path, "old")
    write_text(path, "new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_write_into_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written: no such file or directory"):
        write_text(tmp_path / "missing" / "out.yaml", "text")


def test_write_over_directory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a directory"):
        write_text(tmp_path, "text")


def test_write_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written: not a directory"):
        write_text(tmp_path / "file" / "out.yaml", "text")


def test_failed_write_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out.yaml"
    write_text(path, "old")

    def parts() -> Iterator[str]:
        yield "half of the new one"
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(InputError, match="cannot be written: input/output error"):
        write_parts(path, parts())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_depth_limit_holds_in_a_small_stack() -> None:
    code = "from overlapim_files import FileModel, parse; parse('[' * 10**6, FileModel, 'x')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "nested more than 40 deep" in done.stderr


def test_a_field_goes_by_its_key_alone_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(dump(load_network("toy")).replace("from: image", "producer: image"))
    with pytest.raises(InputError, match="unknown key 'producer'"):
        load(path, Network)
