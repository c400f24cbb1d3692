// Drawing a picture with its boxes on a canvas: the same on the screen and in the PNG that is downloaded.

// One colour a class, those of pure_detect/draw/colors.py; a test compares them.
const PALETTE = `
  ff3c2d 1eff78 0078ff 00964b e1b4ff c33cd2 ffb400 00d2e1 b4872d 87c35a ff69b4 9687d2 b45a78 0096b4 f09687 2dffe1
  875aff d2e100 d278ff 87b4ff e10078 2db496 1eb400 c35a1e f0780f a5e196 00a5ff 5a78c3 d27896 965ac3 00e196 ff87f0
  d2a54b 4bd20f c369c3 788700 87a500 ff6978 6987ff c396e1 ffa5c3 00b4d2 ffd278 d23c4b ff3c87 c3c300 f05ae1 b45aff
  e13cb4 87e15a 00c369 69e1c3 b44ba5 ff962d ffb478 69e1ff d2785a a587ff 2dc3ff a569a5 5aa55a d2c369 e178d2 d25a96
  e15a69 6969e1 ff87a5 00d2b4 ffd200 69ffa5 a5a54b 6996e1 a53ce1 96f000 1e9678 1e87e1 f01e5a b4f078 96780f e13c00
`.trim().split(/\s+/);

const MOST_HIDDEN = 0.15; // of the picture under labels, but so many labels there always are
const ALWAYS = 3;

/** Return the colour of a class, always the same one. */
export function classColor(classId) {
  return `#${PALETTE[classId % PALETTE.length]}`;
}

/** Return black or white, whichever stands out more (WCAG 2.2, relative luminance). */
function textColor(color) {
  const [red, green, blue] = [1, 3, 5].map((i) => {
    const share = parseInt(color.slice(i, i + 2), 16) / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000" : "#fff";
}

/**
 * Draw a picture that fills the canvas, and the boxes of its objects upon it.
 *
 * @param canvas  of the size that the drawing is to have
 * @param picture anything that a canvas can draw, `width` x `height` pixels
 * @param objects best score first: {bbox: [x, y, width, height] in pixels of the picture, label, confidence, color}
 * @param options unit: canvas pixels for what is one on a plain screen; chosen: the object to stand out, if any
 */
export function paint(canvas, picture, objects, { unit = 1, chosen = null } = {}) {
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  context.font = `600 ${13 * unit}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  const scale = { x: canvas.width / picture.width, y: canvas.height / picture.height };
  const drawn = objects.map((object) => ({ object, box: scaled(object.bbox, scale) }));
  const labelled = drawn.filter(({ object }) => !chosen || object === chosen);
  const plates = placePlates(labelled.map(({ object, box }) => [box, plateSize(context, object, unit)]), canvas);
  // Worst first, so that the best and then the chosen one lie on top; all plates over all boxes.
  const order = [...drawn].reverse().sort((a, b) => (a.object === chosen) - (b.object === chosen));
  for (const item of order) drawBox(context, item, unit, chosen);
  labelled.forEach(({ object }, i) => plates[i] && drawPlate(context, object, plates[i], unit));
}

function scaled([x, y, width, height], scale) {
  return { x: x * scale.x, y: y * scale.y, width: width * scale.x, height: height * scale.y };
}

function plateText({ label, confidence }) {
  return `${label} ${percent(confidence)}`;
}

/** Return a score as people read it; never more than it is, so that 50 % passes a filter of 50 %. */
export function percent(confidence) {
  return `${Math.floor(confidence * 100 + 1e-9)} %`;
}

function plateSize(context, object, unit) {
  return { width: Math.ceil(context.measureText(plateText(object)).width + 10 * unit), height: Math.ceil(20 * unit) };
}

function drawBox(context, { object, box }, unit, chosen) {
  context.globalAlpha = chosen && chosen !== object ? 0.35 : 1;
  context.lineJoin = "round";
  // A dark rim first: the colour stands out on any background.
  for (const [color, width] of [["rgb(0 0 0 / 55%)", 4.5], [object.color, object === chosen ? 3.5 : 2.5]]) {
    context.strokeStyle = color;
    context.lineWidth = width * unit;
    context.strokeRect(box.x, box.y, box.width, box.height);
  }
  context.globalAlpha = 1;
}

function drawPlate(context, object, plate, unit) {
  context.fillStyle = object.color;
  context.beginPath();
  context.roundRect(plate.x, plate.y, plate.width, plate.height, 4 * unit);
  context.fill();
  context.strokeStyle = "rgb(0 0 0 / 55%)";
  context.lineWidth = unit;
  context.stroke();
  context.fillStyle = textColor(object.color);
  context.fillText(plateText(object), plate.x + 5 * unit, plate.y + plate.height / 2 + 0.5 * unit);
}

/**
 * Choose places for labels, the first object first: at its box, inside the picture, and not upon another label.
 *
 * In a crowd some get none, where every place is taken or the labels hide too much of the picture by then: the list
 * beside it has them all.
 *
 * @param wanted [box, size of its label] of each object, as {x, y, width, height} and {width, height}
 * @returns {x, y, width, height} or null for each
 */
export function placePlates(wanted, { width, height }) {
  const placed = [];
  let room = MOST_HIDDEN * width * height;
  return wanted.map(([box, size]) => {
    const spots = plateSpots(box, size).map(([x, y]) => ({
      x: Math.max(0, Math.min(x, width - size.width)),
      y: Math.max(0, Math.min(y, height - size.height)),
      ...size,
    }));
    const free = spots.find((spot) => !placed.some((other) => overlap(spot, other)));
    if (!free || (room <= 0 && placed.length >= ALWAYS)) return null;
    room -= size.width * size.height;
    placed.push(free);
    return free;
  });
}

function plateSpots(box, size) {
  const [right, bottom] = [box.x + box.width - size.width, box.y + box.height];
  const above = box.y - size.height;
  const inside = [[box.x, box.y], [right, box.y], [box.x, bottom - size.height], [right, bottom - size.height]];
  const around = [[right, above], [box.x, bottom], [right, bottom]];
  const roomy = box.width >= size.width && box.height >= 3 * size.height;
  return [[box.x, above], ...(roomy ? [...inside, ...around] : [...around, ...inside])];
}

function overlap(a, b) {
  const width = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
  const height = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
  return Math.max(0, width) * Math.max(0, height);
}
