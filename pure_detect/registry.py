"""The networks that have a name: what each is, where its author publishes the weights, and how well they do.

SHA-256 sums come from sources that checked the official file, and are absent where there is none that we trust:

* OMZ: `models/public/yolo-v4-tf/model.yml` and `yolo-v4-tiny-tf/model.yml` of openvinotoolkit/open_model_zoo.
* EMGU: `Emgu.CV.Models/Dnn/Yolo.cs` of emgucv/emgucv, in versions before it dropped Darknet's networks.
* META-ROS: the recipe darknet-ros of meta-ros, for leggedrobotics' copy; its sum for yolov3 equals EMGU's.
* COPY: computed from leggedrobotics' copy, since the author states none.
* REPOSITORY: computed from the file in the author's repository, at the commit that the address names.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from pure_detect.demo.networks import DEMO_NETWORKS, WEIGHTS
from pure_detect.errors import InputError
from pure_detect.jit import home
from pure_detect.models.darknet19 import DARKNET19
from pure_detect.models.darknet53 import DARKNET53
from pure_detect.models.efficientdet import EFFICIENTDET_D0_EFFDET, EFFICIENTDET_LITES, EFFICIENTDETS
from pure_detect.models.efficientnet import EFFICIENTNETS
from pure_detect.models.mobilenetv3 import (
    MOBILENETV3_LARGE,
    MOBILENETV3_LARGE_KERAS,
    MOBILENETV3_LARGE_MINIMALISTIC_KERAS,
    MOBILENETV3_SMALL,
    MOBILENETV3_SMALL_KERAS,
    MOBILENETV3_SMALL_MINIMALISTIC_KERAS,
)
from pure_detect.models.ssdlite import SSDLITE320_LARGE, SSDLITE_LARGE, SSDLITE_SMALL
from pure_detect.models.tiny_darknet import TINY_DARKNET
from pure_detect.models.yolo_fastest import YOLO_FASTEST, YOLO_FASTEST_XL
from pure_detect.models.yolov2 import YOLOV2, YOLOV2_TINY
from pure_detect.models.yolov3 import YOLOV3, YOLOV3_SPP, YOLOV3_TINY
from pure_detect.models.yolov4 import YOLOV4, YOLOV4_TINY
from pure_detect.network import Network

DEFAULT_MODEL = "yolo-fastest-1.1-xl"

OMZ, EMGU, META_ROS = "openvinotoolkit/open_model_zoo", "emgucv/emgucv", "ros/meta-ros"
COPY, REPOSITORY = "leggedrobotics' copy", "the author's repository"
ALEXEYAB = "https://github.com/AlexeyAB/darknet/releases/download"
KERAS_MODELS = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v3"
KERAS_EFFICIENTNETS = "https://storage.googleapis.com/keras-applications"
EFFDET = "https://github.com/rwightman/efficientdet-pytorch/releases/download/v0.1"
AUTOML = "https://storage.googleapis.com/cloud-tpu-checkpoints/efficientdet/coco2"
AUTOML_README = "README of google/automl efficientdet, COCO"
YOLO_FASTEST_MODELS = (
    "https://raw.githubusercontent.com/dog-qiuqiu/Yolo-Fastest/"
    "9c62b1c50e024fb73d29a651133b1d63548e63a1/ModelZoo/yolo-fastest-1.1_coco"
)


def pjreddie(file: str) -> tuple[str, str]:
    """Return where pjreddie.com keeps a file: the address that everybody links to, and the site's newer one."""
    return f"https://pjreddie.com/media/files/{file}", f"https://data.pjreddie.com/files/{file}"


@dataclass(frozen=True)
class Published:
    """A network whose author publishes weights.

    Attributes
    ----------
    network : Network
    addresses : tuple of str
        Official, tried in this order. All end in the same file name. Empty where no single file is published.
    size : int or None
        Of the file, in bytes; None where no source states it.
    sha256, sha256_source : str
        Empty where no source that we trust states it; the module's docstring explains the sources.
    ap, ap50 : float or None
        In percent on COCO, averaged over IoU 0.50 to 0.95, and at 0.50, as published for these weights at this input.
    top1 : float or None
        In percent on ImageNet's validation images.
    accuracy_source : str
    bundled : bool
        Whether the weights come with this package.
    """

    network: Network
    addresses: tuple[str, ...]
    size: int | None = None
    sha256: str = ""
    sha256_source: str = ""
    ap: float | None = None
    ap50: float | None = None
    top1: float | None = None
    accuracy_source: str = ""
    bundled: bool = False

    @property
    def file(self) -> str:
        """Return the name of the published file; empty where none can be fetched."""
        return self.addresses[0].rpartition("/")[2] if self.addresses else ""


ROWS = (
    *(
        Published(
            network,
            (),
            ap=ap,
            ap50=ap50,
            accuracy_source="examples/train_demo/README.md, on 500 drawn scenes",
            bundled=True,
        )
        for network, ap, ap50 in zip(DEMO_NETWORKS, (66.2, 50.0, 59.6), (93.5, 80.0, 83.6), strict=True)
    ),
    Published(
        YOLO_FASTEST,
        (f"{YOLO_FASTEST_MODELS}/yolo-fastest-1.1.weights",),
        size=1_384_268,
        sha256="1c445c42bbd6df63edea2cc69f99667b5650d663ca11e34b116240740cd42890",
        sha256_source=REPOSITORY,
        ap50=24.4,
        accuracy_source="README of dog-qiuqiu/Yolo-Fastest, COCO 2017 val",
    ),
    Published(
        YOLO_FASTEST_XL,
        (f"{YOLO_FASTEST_MODELS}/yolo-fastest-1.1-xl.weights",),
        size=3_693_964,
        sha256="fac5fb41786c1f38f04972a658443b189f48720d7d117f9a044100e98a35b0c5",
        sha256_source=REPOSITORY,
        ap50=34.3,
        accuracy_source="README of dog-qiuqiu/Yolo-Fastest, COCO 2017 val",
    ),
    Published(
        YOLOV2,
        pjreddie("yolov2.weights"),
        size=203_934_260,
        sha256="d9945162ed6f54ce1a901e3ec537bdba4d572ecae7873087bd730e5a7942df3f",
        sha256_source=META_ROS,
        ap50=48.1,
        accuracy_source="pjreddie.com/darknet/yolo, COCO test-dev",
    ),
    Published(
        YOLOV2_TINY,
        pjreddie("yolov2-tiny.weights"),
        size=44_948_600,
        ap50=23.7,
        accuracy_source="pjreddie.com/darknet/yolo, COCO test-dev",
    ),
    Published(
        YOLOV3,
        pjreddie("yolov3.weights"),
        size=248_007_048,
        sha256="523e4e69e1d015393a1b0a441cef1d9c7659e3eb2d7e15f793f060a21b32f297",
        sha256_source=EMGU,
        ap=31.0,
        ap50=55.3,
        accuracy_source="Redmon and Farhadi 2018, Figures 1 and 3, COCO test-dev",
    ),
    Published(
        YOLOV3_SPP,
        pjreddie("yolov3-spp.weights"),
        size=252_209_544,
        sha256="87a1e8c85c763316f34e428f2295e1db9ed4abcec59dd9544f8052f50de327b4",
        sha256_source=EMGU,
        ap50=60.6,
        accuracy_source="pjreddie.com/darknet/yolo, COCO test-dev",
    ),
    Published(
        YOLOV3_TINY,
        pjreddie("yolov3-tiny.weights"),
        size=35_434_956,
        sha256="dccea06f59b781ec1234ddf8d1e94b9519a97f4245748a7d4db75d5b7080a42c",
        sha256_source=EMGU,
        ap50=33.1,
        accuracy_source="pjreddie.com/darknet/yolo, COCO test-dev",
    ),
    Published(
        YOLOV4,
        (f"{ALEXEYAB}/darknet_yolo_v3_optimal/yolov4.weights",),
        size=257_717_640,
        sha256="e8a4f6c62188738d86dc6898d82724ec0964d0eb9d2ae0f0a9d53d65d108d562",
        sha256_source=OMZ,
        ap=43.5,
        ap50=65.7,
        accuracy_source="README of AlexeyAB/darknet; Bochkovskiy et al. 2020, COCO test-dev",
    ),
    Published(
        YOLOV4_TINY,
        (f"{ALEXEYAB}/darknet_yolo_v4_pre/yolov4-tiny.weights",),
        size=24_251_276,
        sha256="cf9fbfd0f6d4869b35762f56100f50ed05268084078805f0e7989efe5bb8ca87",
        sha256_source=OMZ,
        ap50=40.2,
        accuracy_source="README of AlexeyAB/darknet",
    ),
    Published(
        DARKNET19,
        pjreddie("darknet19.weights"),
        top1=72.9,
        accuracy_source="pjreddie.com/darknet/imagenet",
    ),
    Published(
        DARKNET53,
        pjreddie("darknet53.weights"),
        top1=77.2,
        accuracy_source="pjreddie.com/darknet/imagenet",
    ),
    Published(
        TINY_DARKNET,
        pjreddie("tiny.weights"),
        size=4_185_968,
        sha256="f1c3fe6b9bab9af69ae2a090682df3e5b9d83accba69551315f030ce1b37ea81",
        sha256_source=COPY,
        top1=58.7,
        accuracy_source="pjreddie.com/darknet/tiny-darknet",
    ),
    Published(
        SSDLITE320_LARGE,
        ("https://download.pytorch.org/models/ssdlite320_mobilenet_v3_large_coco-a79551df.pth",),
        ap=21.3,
        accuracy_source="torchvision 0.28, SSDLite320_MobileNet_V3_Large_Weights.COCO_V1",
    ),
    Published(
        MOBILENETV3_LARGE,
        ("https://download.pytorch.org/models/mobilenet_v3_large-5c1a4163.pth",),
        top1=75.3,
        accuracy_source="torchvision 0.28, MobileNet_V3_Large_Weights.IMAGENET1K_V2",
    ),
    Published(
        MOBILENETV3_SMALL,
        ("https://download.pytorch.org/models/mobilenet_v3_small-047dcff4.pth",),
        top1=67.7,
        accuracy_source="torchvision 0.28, MobileNet_V3_Small_Weights.IMAGENET1K_V1",
    ),
    *(
        Published(
            network,
            (f"{KERAS_MODELS}/weights_mobilenet_v3_{kind}_224_1.0_float.h5",),
            top1=top1,
            accuracy_source="Keras 3, applications/mobilenet_v3.py",
        )
        for network, kind, top1 in (
            (MOBILENETV3_LARGE_KERAS, "large", 75.6),
            (MOBILENETV3_SMALL_KERAS, "small", 68.1),
            (MOBILENETV3_LARGE_MINIMALISTIC_KERAS, "large_minimalistic", 72.3),
            (MOBILENETV3_SMALL_MINIMALISTIC_KERAS, "small_minimalistic", 61.9),
        )
    ),
    *(
        Published(
            network, (f"{AUTOML}/{network.name}.h5",), ap=ap, ap50=ap50, accuracy_source=f"{AUTOML_README}, test-dev"
        )
        for network, ap, ap50 in zip(
            EFFICIENTDETS,
            (34.6, 40.5, 43.9, 47.2, 49.7, 51.5, 52.6, 53.7, 55.1),
            (53.0, 59.1, 62.7, 65.9, 68.4, 70.5, 71.5, 72.4, 74.3),
            strict=True,
        )
    ),
    # As effdet's author converted them: automl publishes archives of several files.
    *(
        Published(
            network,
            (f"{EFFDET}/tf_{network.name.replace('-', '_')}-{file}.pth",),
            ap=ap,
            accuracy_source=f"{AUTOML_README}, test-dev",
        )
        for network, file, ap in zip(
            EFFICIENTDET_LITES,
            ("dfacfc78", "6dc7ab30", "86c5d55b", "506852cb", "391ddabc"),
            (26.41, 31.50, 35.06, 38.77, 43.18),
            strict=True,
        )
    ),
    Published(
        EFFICIENTDET_D0_EFFDET,
        (f"{EFFDET}/efficientdet_d0-f3276ba8.pth",),
        ap=33.6,
        accuracy_source="README of rwightman/efficientdet-pytorch, COCO 2017 val",
    ),
    *(
        Published(
            network,
            (f"{KERAS_EFFICIENTNETS}/{network.name.replace('-', '')}.h5",),
            top1=top1,
            accuracy_source="Keras 3, applications table",
        )
        for network, top1 in zip(EFFICIENTNETS, (77.1, 79.1, 80.1, 81.6, 82.9, 83.6, 84.0, 84.3), strict=True)
    ),
    # TensorFlow publishes archives of several files: unpack one and give it to weights-convert.
    Published(SSDLITE_LARGE, (), ap=22.0, accuracy_source="TensorFlow 1 detection model zoo, 2020_01_14"),
    Published(SSDLITE_SMALL, (), ap=15.4, accuracy_source="TensorFlow 1 detection model zoo, 2020_01_14"),
)

PUBLISHED: dict[str, Published] = {row.network.name: row for row in ROWS}
NETWORKS: dict[str, Network] = {name: row.network for name, row in PUBLISHED.items()}


def find_network(name: str) -> Network:
    """Return the network of a registry name.

    Raises
    ------
    InputError
        If there is none; the message lists what there is.
    """
    if name in NETWORKS:
        return NETWORKS[name]
    close = difflib.get_close_matches(name, NETWORKS, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise InputError(
        f"{name}: expected a .h5 weight file, a .cfg file or a name ({', '.join(NETWORKS)}), found neither; "
        f"{hint}`pure-detect models` lists the names"
    )


def cached_weights(name: str) -> Path:
    """Return where the weights of a registry name are kept.

    Those of the demo networks in the package, all others in `PURE_DETECT_HOME`, else in the cache folder.
    """
    if PUBLISHED[name].bundled:
        return WEIGHTS / f"{name}.h5"
    return home() / "weights" / f"{name}.h5"
