"""The grammar of cfg files, and the options that it warns of."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest

from pure_detect.models.darknet import darknet_network, read_cfg
from pure_detect.models.darknet_cfg import ALIASES, Section, parse_cfg

NET = "[net]\nwidth=32\nheight=32\nchannels=3\n"
CONV = "[convolutional]\nfilters=6\nsize=3\npad=1\nactivation=linear\n"
HEAD = "[yolo]\nclasses=1\nanchors=1,2\nnum=1\n"


def section(*lines: str) -> Section:
    """Return a [net] section of these option lines."""
    return parse_cfg("\n".join(["[net]", *lines]), "x.cfg")[0]


class TestGrammar:
    def test_spaces_and_tabs_are_dropped_everywhere_even_inside_values(self) -> None:
        assert section("  wi dth\t= 4 1 6  ").options["width"] == ("416", 2)
        assert section(" an chors = 10, 13,\t16 ,30 ").numbers("anchors", []) == [10, 13, 16, 30]

    @pytest.mark.parametrize("comment", ["# width=1", "; width=1", "  \t# width=1", "#", ";", "", "   "])
    def test_comments_and_empty_lines_say_nothing(self, comment: str) -> None:
        assert section(comment, "width=2").options == {"width": ("2", 3)}

    def test_of_a_repeated_option_the_first_counts(self) -> None:
        assert section("width=1", "width=2").integer("width", 0) == 1

    def test_an_option_is_split_at_its_first_equals_sign(self) -> None:
        assert section("a=b=c").options["a"] == ("b=c", 2)

    @pytest.mark.parametrize(("alias", "kind"), ALIASES.items())
    def test_aliases_stand_for_the_full_names(self, alias: str, kind: str) -> None:
        assert [s.kind for s in parse_cfg(f"[net]\n[{alias}]\n", "x.cfg")] == ["net", kind]

    def test_the_known_aliases_are_darknets(self) -> None:
        expected = {"conv": "convolutional", "max": "maxpool", "avg": "avgpool", "soft": "softmax", "conn": "connected"}
        assert expected.items() <= ALIASES.items()
        assert ALIASES["network"] == "net"

    @pytest.mark.parametrize("text", ["16#filters", "16 # filters", "16;", "16 ; filters # too", "+16", "016"])
    def test_a_comment_behind_an_integer_is_harmless(self, text: str) -> None:
        assert section(f"filters={text}").integer("filters", 1) == 16

    def test_a_comment_behind_a_list_is_harmless(self) -> None:
        assert section("mask = 0,1, 2 # small, at last").integers("mask", []) == [0, 1, 2]
        assert section("mask = 0,1, 2 ; small").integers("mask", []) == [0, 1, 2]
        assert section("anchors = 1,2,  3.5,4 #5,6").numbers("anchors", []) == [1, 2, 3.5, 4]

    @pytest.mark.parametrize(
        ("text", "value"), [("5", 5), ("5.", 5), (".5", 0.5), ("-1.5", -1.5), ("+2e-3", 0.002), ("1E2", 100)]
    )
    def test_numbers_are_written_as_in_c(self, text: str, value: float) -> None:
        assert section(f"alpha={text}").number("alpha", 0) == value

    @pytest.mark.parametrize("ending", ["\r\n", "\n"])
    def test_line_endings_of_windows_and_unix_read_the_same(self, ending: str, tmp_path: Path) -> None:
        path = tmp_path / "x.cfg"
        path.write_bytes((NET + CONV).replace("\n", ending).encode())
        assert read_cfg(path).build().output_shapes == [(6, 32, 32)]

    @pytest.mark.parametrize("comment", [b"# caf\xe9", b"# \xff\xfe", "# Ω und 網路".encode()])
    def test_bytes_of_any_encoding_may_stand_in_comments(self, comment: bytes, tmp_path: Path) -> None:
        path = tmp_path / "x.cfg"
        path.write_bytes(comment + b"\n" + (NET + CONV).encode())
        assert read_cfg(path).build().output_shapes == [(6, 32, 32)]

    @pytest.mark.parametrize("comment", ["# Ångström", "# 公開", "# a\x0bb", "# a\x0cb", "# a\x1cb"])
    def test_only_a_newline_ends_a_comment(self, comment: str, tmp_path: Path) -> None:
        """In UTF-8 the byte 0x85, for Python a line's end, is part of many letters."""
        path = tmp_path / "x.cfg"
        path.write_bytes(comment.encode() + b"\n" + (NET + CONV).encode())
        assert read_cfg(path).build().output_shapes == [(6, 32, 32)]

    def test_the_first_section_may_be_called_network(self) -> None:
        assert darknet_network(NET.replace("[net]", "[network]") + CONV, "x.cfg").input_shape == (3, 32, 32)

    def test_the_stem_of_the_file_is_the_networks_name(self) -> None:
        assert darknet_network(NET + CONV, "some/folder/my-net.v2.cfg").name == "my-net.v2"


class TestUnknownOptions:
    def test_an_unknown_option_is_exactly_one_warning_that_names_file_line_and_key(self) -> None:
        text = NET + CONV + "bogus=1\n" + HEAD
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            network = darknet_network(text, "dir/x.cfg")
            network.build()
            assert network.class_count == 1
        assert len(caught) == 1
        message = str(caught[0].message)
        assert message.startswith("dir/x.cfg, line 10: ")
        assert "'bogus'" in message

    def test_each_unknown_option_has_its_own_warning(self) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            darknet_network(NET + "net_bogus=1\n" + CONV + "bogus=1\n" + CONV + "bogus=2\n", "x.cfg")
        lines = [re.match(r"x\.cfg, line (\d+): ", str(warning.message)) for warning in caught]
        assert [int(match[1]) for match in lines if match] == [5, 11, 17]

    def test_options_that_only_training_reads_are_not_warned_of(self) -> None:
        training = "batch=64\nsubdivisions=8\nmomentum=0.9\ndecay=0.0005\nsaturation=1.5\npolicy=steps\nscales=.1,.1\n"
        head = HEAD + "ignore_thresh=.7\ntruth_thresh=1\nrandom=1\njitter=.3\nnms_kind=greedynms\niou_loss=ciou\n"
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            darknet_network(NET + training + CONV + "batch_normalize=1\n" + head, "x.cfg")
