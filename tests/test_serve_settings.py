"""Settings from the environment and from the command line: every value is checked, every error one line."""

from __future__ import annotations

from dataclasses import fields

import pytest

from pure_detect.cli import main, parser
from pure_detect.errors import InputError
from pure_detect.serve.settings import Settings, variable

GOOD = {
    "models": ("a,b.h5", ("a", "b.h5")),
    "host": ("0.0.0.0", "0.0.0.0"),
    "port": ("9000", 9000),
    "workers": ("3", 3),
    "threads": ("2", 2),
    "concurrency": ("4", 4),
    "queue": ("0", 0),
    "time_limit": ("2.5", 2.5),
    "read_limit": ("1", 1.0),
    "max_bytes": ("1000", 1000),
    "max_pixels": ("1000", 1000),
    "allow_address": ("10.0.0.0/8,fd00::/8", ("10.0.0.0/8", "fd00::/8")),
}
BAD = {
    "models": ["", ","],
    "port": ["65536", "-1", "x", "8080.0", "٣"],
    "workers": ["0", "257"],
    "threads": ["0"],
    "concurrency": ["0", "1e9"],
    "queue": ["-1", "10001"],
    "time_limit": ["0", "-1", "nan", "inf", "x"],
    "read_limit": ["0"],
    "max_bytes": ["0", "1k"],
    "max_pixels": ["0"],
    "allow_address": ["10.0.0.1/8", "localhost", "10.0.0.0/33", ","],
}


@pytest.mark.parametrize("setting", fields(Settings), ids=lambda setting: setting.name)
def test_every_setting_can_be_given_by_variable_and_by_option(setting):
    text, value = GOOD[setting.name]
    assert getattr(Settings.from_environment({variable(setting): text}), setting.name) == value
    options = parser().parse_args(["serve", f"--{setting.name.replace('_', '-')}", text])
    given = getattr(options, setting.name)
    assert (tuple(given) if isinstance(given, list) else given) == value


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in BAD.items() for text in texts])
def test_a_value_that_cannot_be_used_is_one_line(name, text, capsys):
    if text:  # an empty variable counts as none
        with pytest.raises(InputError, match=f"^PURE_DETECT_SERVE_{name.upper()}: expected .*, found ") as caught:
            Settings.from_environment({f"PURE_DETECT_SERVE_{name.upper()}": text})
        assert "\n" not in str(caught.value)
    with pytest.raises(SystemExit, match="2"):
        main(["serve", f"--{name.replace('_', '-')}={text}"])
    assert "expected" in capsys.readouterr().err.splitlines()[-1]


def test_an_empty_environment_gives_the_defaults():
    assert Settings.from_environment({"PURE_DETECT_SERVE_QUEUE": "", "PORT": "", "HOME": "/"}) == Settings()


def test_the_platforms_port_counts_unless_ours_is_given():
    assert Settings.from_environment({"PORT": "9000"}).port == 9000
    assert Settings.from_environment({"PORT": "9000", "PURE_DETECT_SERVE_PORT": "9001"}).port == 9001


def test_a_variable_that_is_no_setting_is_refused():
    with pytest.raises(InputError, match=r"PURE_DETECT_SERVE_QUEUES: expected one of .*, found no such setting"):
        Settings.from_environment({"PURE_DETECT_SERVE_QUEUES": "1"})


def test_allowed_ranges_may_be_repeated():
    options = parser().parse_args(["serve", "--allow-address", "10.0.0.0/8", "--allow-address", "fd00::/8"])
    assert options.allow_address == ["10.0.0.0/8", "fd00::/8"]


def test_an_address_is_written_as_in_urls():
    assert Settings(host="::1", port=1).address == "[::1]:1"
    assert Settings(host="127.0.0.1", port=1).address == "127.0.0.1:1"


def test_without_the_extra_the_command_says_which_to_install(monkeypatch, capsys):
    monkeypatch.setattr("pure_detect.cli.serve.NEEDED", ("flask", "no_such_library"))
    assert main(["serve"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    wanted = "expected flask, no_such_library, found no no_such_library; pip install 'pure-detect[serve]'"
    assert line == f"error: serve: {wanted}"
