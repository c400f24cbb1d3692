"""Heads and outputs of a cfg, and what would go wrong without a word if it were not refused."""

from __future__ import annotations

import warnings

import pytest

from pure_detect.boxes.decode_yolo import GaussianYoloHead, RegionHead, YoloHead
from pure_detect.errors import InputError
from tests.cfg_layers import CONV, FOUR, HEAD, network


class TestHeads:
    def test_a_mask_picks_the_anchors(self) -> None:
        body = CONV.format(12) + "[yolo]\nclasses=1\nnum=3\nanchors=1,2, 3,4, 5,6\nmask=2,0\n"
        assert network(body).build().heads == (YoloHead("layer000.conv", ((5, 6), (1, 2)), 1),)

    def test_without_a_mask_every_anchor_counts(self) -> None:
        body = CONV.format(12) + "[yolo]\nclasses=1\nnum=2\nanchors=1,2,3,4\n"
        assert network(body).build().heads[0].anchors == ((1, 2), (3, 4))

    def test_yolo_options(self) -> None:
        body = CONV.format(25) + "[yolo]\nanchors=1,2\nscale_x_y=1.05\nnew_coords=1\n"
        assert network(body).build().heads == (YoloHead("layer000.conv", ((1, 2),), 20, 1.05, True),)

    def test_gaussian_yolo_has_nine_planes_and_its_classes(self) -> None:
        body = CONV.format(11) + "[Gaussian_yolo]\nclasses=2\nanchors=1,2\nyolo_point=left_top\n"
        assert network(body).build().heads == (GaussianYoloHead("layer000.conv", ((1, 2),), 2, 1.0, "left_top"),)

    @pytest.mark.parametrize(("option", "softmax"), [("", False), ("softmax=0\n", False), ("softmax=1\n", True)])
    def test_region_takes_its_softmax_from_the_cfg(self, option: str, softmax: bool) -> None:
        body = CONV.format(14) + f"[region]\nclasses=2\nnum=2\nanchors=.5,.6,1,2\n{option}"
        assert network(body).build().heads == (RegionHead("layer000.conv", ((0.5, 0.6), (1, 2)), 2, softmax),)

    def test_heads_come_in_the_order_of_the_cfg_and_are_layers(self) -> None:
        head = "[yolo]\nclasses=1\nanchors=1,2,3,4\nnum=2\nmask={}\n"
        body = CONV.format(6) + head.format(1) + "[route]\nlayers=-2\n" + CONV.format(6) + head.format(0)
        built = network(body).build()
        assert built.outputs == ("layer000.conv", "layer003.conv")
        assert [h.anchors for h in built.heads] == [((3, 4),), ((1, 2),)]

    def test_heads_make_a_detector_whose_sizes_its_stride_divides(self) -> None:
        halve, double = "[maxpool]\nsize=2\nstride=2\n", "[upsample]\nstride=4\n"
        detector = network(halve * 3 + double + CONV.format(6) + "[yolo]\nclasses=1\nanchors=1,2\n", 3, 16, 24)
        assert (detector.family, detector.stride, detector.is_classifier) == ("yolo", 8, False)
        with pytest.raises(ValueError, match="multiple of 8, got 20"):
            detector.build(20, 24)
        assert detector.build(8, 16).output_shapes == [(6, 4, 8)]

    def test_no_heads_make_a_classifier_of_the_last_layer(self) -> None:
        classifier = network(FOUR + "[avgpool]\n[softmax]\n[cost]\n")
        assert classifier.is_classifier
        assert classifier.build().outputs == ("layer002.softmax",)
        assert classifier.class_count == 4

    def test_letter_box_in_net_chooses_the_resize(self) -> None:
        body = CONV.format(6) + "[yolo]\nclasses=1\nanchors=1,2\n"
        assert network(body).preprocessing.resize == "stretch"
        assert network("letter_box=1\n" + body).preprocessing.resize == "letterbox"
        assert network(FOUR + "[avgpool]\n[softmax]\n").preprocessing.resize == "crop"


class TestWhatWouldGoWrongSilently:
    @pytest.mark.parametrize(
        "after", [FOUR, "[shortcut]\nfrom=0\n", "[yolo]\nclasses=1\nanchors=1,2\n", "[upsample]\n"]
    )
    def test_a_layer_cannot_read_a_head(self, after: str) -> None:
        """It would read the raw map, where Darknet gives the activated one."""
        with pytest.raises(InputError, match=r"^x\.cfg, line 12: .*head"):
            network(HEAD + after)

    @pytest.mark.parametrize("kind", ["scale_channels", "sam"])
    def test_a_product_must_say_from_where(self, kind: str) -> None:
        with pytest.raises(InputError, match=rf"^x\.cfg, line 9: \[{kind}\] .*from="):
            network(f"{FOUR}[{kind}]\n")

    @pytest.mark.parametrize("body", ["[dropout]\n", "[yolo]\nclasses=1\nanchors=1,2\n"])
    def test_a_network_that_gives_the_picture_itself_is_refused(self, body: str) -> None:
        with pytest.raises(InputError, match=r"^x\.cfg: "):
            network(body, 6)

    @pytest.mark.parametrize("dead", [FOUR, "[batchnorm]\n", "[connected]\n"])
    def test_a_layer_with_weights_that_no_head_needs_is_named(self, dead: str) -> None:
        """Its values stand in Darknet's file, and would have no place in ours."""
        with pytest.raises(InputError, match=r"^x\.cfg, line 14: .*layer 3 "):
            network(HEAD + "[route]\nlayers=0\n" + dead)

    def test_a_layer_without_weights_that_no_head_needs_does_no_harm(self) -> None:
        assert network(HEAD + "[route]\nlayers=0\n[avgpool]\n").build() == network(HEAD).build()

    def test_a_size_of_its_own_that_the_stride_does_not_divide_names_the_line(self) -> None:
        with pytest.raises(InputError, match=r"^x\.cfg, line 3: \[net\] height: .*multiple of .*stride 2, found 9"):
            network("[maxpool]\nsize=2\nstride=2\n" + HEAD, 3, 9, 8)

    def test_heads_of_one_network_have_the_same_classes(self) -> None:
        other = CONV.format(7) + "[yolo]\nclasses=2\nanchors=1,2\n"
        with pytest.raises(InputError, match=r"^x\.cfg.*heads.*\[1, 2\]"):
            network(HEAD + "[route]\nlayers=0\n" + other)

    def test_dilation_of_size_1_is_known_though_it_does_nothing(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            network("[convolutional]\nsize=1\ndilation=3\n")
