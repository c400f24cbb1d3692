"""Class names in the order of the networks' outputs."""

# The 80 classes of COCO as Darknet names them (`data/coco.names` of pjreddie/darknet).
COCO_80 = tuple(
    """person, bicycle, car, motorbike, aeroplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign,
    parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella,
    handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard,
    surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange,
    broccoli, carrot, hot dog, pizza, donut, cake, chair, sofa, pottedplant, bed, diningtable, toilet, tvmonitor,
    laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase,
    scissors, teddy bear, hair drier, toothbrush""".replace("\n   ", "").split(", ")
)

# The category ids of COCO's annotation files for those 80, which have gaps (`examples/detector.c`, `coco_ids`).
COCO_80_CATEGORY_IDS = tuple(i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83))

# Darknet's names for COCO classes that COCO's own files call otherwise.
COCO_NAMES_OF_DARKNET = {
    "motorbike": "motorcycle",
    "aeroplane": "airplane",
    "sofa": "couch",
    "pottedplant": "potted plant",
    "diningtable": "dining table",
    "tvmonitor": "tv",
}

# The names of category ids 1 to 90, "N/A" where COCO has none: what detectors with COCO's own numbering give.
COCO_91 = tuple(
    COCO_NAMES_OF_DARKNET.get(name, name)
    for number in range(1, 91)
    for name in [COCO_80[COCO_80_CATEGORY_IDS.index(number)] if number in COCO_80_CATEGORY_IDS else "N/A"]
)
