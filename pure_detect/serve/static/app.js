// The page: a picture goes in, the service answers once, and everything after that (filter, list, drawing) happens here.

import { classColor, paint, percent } from "./drawing.js";
import * as service from "./service.js";

const at = Object.fromEntries([...document.querySelectorAll("[id]")].map((element) => [element.id, element]));
const KEPT = "pure-detect.score";

// What is on the page: the models by name, the picture and what it is called, its objects (best score first), the one
// that stands out, the question that is open, and how to ask once more.
const state = { models: new Map(), picture: null, name: "", objects: [], chosen: null, asking: null, again: null };

// ---- asking

/** Ask for the models, and fill their list. */
async function loadModels() {
  at.error.hidden = true;
  try {
    const found = await service.models();
    state.models = new Map(found.models.map((model) => [model.name, model]));
    at.model.replaceChildren(...found.models.map(({ name }) => new Option(name)));
    at.model.value = found.default;
    at.model.disabled = false;
    describeModel();
  } catch (error) {
    at.model.replaceChildren(new Option("no models"));
    state.again = loadModels;
    showError(error);
  }
}

function describeModel() {
  const { labels, width, height } = state.models.get(at.model.value);
  at["model-hint"].textContent = `${labels.length} kinds of objects, sees ${width}\u00a0×\u00a0${height} pixels`;
}

function useFile(file) {
  run(file.name || "the pasted picture", async (signal, model) => {
    const picture = await createImageBitmap(file).catch(() => null);
    if (signal.aborted) return null;
    if (picture) showPicture(picture);
    // Of a JPEG browsers see what the service sees. Some turn no other format upright, or show more than its first frame.
    if (picture && file.type === "image/jpeg") return { objects: await service.detect(file, model, signal), picture };
    return shownByService(await service.detectAndShow(file, model, signal));
  });
}

function useAddress(text) {
  const address = text.trim();
  at.address.value = address;
  if (!address) return at.address.focus();
  run(address, async (signal, model) => shownByService(await service.fetchAndShow(address, model, signal)));
}

async function shownByService({ detections, image }) {
  const bytes = Uint8Array.from(atob(image.slice(image.indexOf(",") + 1)), (letter) => letter.charCodeAt(0));
  return { objects: detections, picture: await createImageBitmap(new Blob([bytes])) };
}

/** Ask a question about a picture; one before it that is still open is dropped. */
async function run(name, question) {
  state.asking?.abort();
  const asking = new AbortController();
  Object.assign(state, { asking, name, again: () => run(name, question), picture: null, objects: [], chosen: null });
  at.error.hidden = true;
  busy(true);
  update();
  const model = at.model.value;
  at.status.textContent = `Looking for objects with ${model} …`;
  try {
    const found = await question(asking.signal, model);
    if (asking.signal.aborted) return;
    busy(false);
    state.objects = colored(found.objects, state.models.get(model));
    showPicture(found.picture);
    update();
  } catch (error) {
    if (!asking.signal.aborted) showError(error);
  }
}

function colored(objects, { labels }) {
  const colors = objects.map(({ label }) => classColor(Math.max(0, labels.indexOf(label))));
  return objects.map((object, i) => ({ ...object, color: colors[i] })).sort((a, b) => b.confidence - a.confidence);
}

function busy(is) {
  at.busy.hidden = !is;
  at.stage.setAttribute("aria-busy", is);
}

// ---- showing

function showPicture(picture) {
  const first = at.canvas.hidden;
  state.picture = picture;
  at.empty.hidden = true;
  at.canvas.hidden = false;
  repaint();
  if (first) at.stage.scrollIntoView({ block: "nearest" });
}

function showError(error) {
  busy(false);
  Object.assign(state, { picture: null, objects: [] });
  at.canvas.hidden = true;
  at.empty.hidden = false;
  at.error.hidden = false;
  at["error-text"].textContent = error.message;
  at["error-code"].textContent = error.code ?? error.name;
  at.retry.hidden = error.passing === false;
  update();
  at.status.textContent = "None: see the message at the picture.";
  at.error.scrollIntoView({ block: "nearest" });
}

function shownObjects() {
  return state.objects.filter(({ confidence }) => confidence >= at.score.value / 100);
}

/** Bring everything that depends on the objects and the slider up to date. */
function update() {
  const shown = shownObjects();
  if (!shown.includes(state.chosen)) state.chosen = null;
  at["score-value"].textContent = `${at.score.value} %`;
  at.score.setAttribute("aria-valuetext", `${at.score.value} percent`);
  at.objects.replaceChildren(...shown.map(row));
  at.json.textContent = jsonOf(shown);
  at.copy.disabled = at.download.disabled = !isDone();
  if (isDone()) at.status.textContent = summary(shown);
  repaint();
}

function isDone() {
  return state.picture && at.busy.hidden;
}

function row(object) {
  const button = document.createElement("button");
  const swatch = document.createElement("span");
  const label = document.createElement("span");
  const score = document.createElement("span");
  button.type = "button";
  button.setAttribute("aria-pressed", object === state.chosen);
  swatch.className = "swatch";
  swatch.style.background = object.color;
  label.className = "label";
  label.textContent = object.label;
  score.textContent = percent(object.confidence);
  button.append(swatch, label, score);
  button.title = `Show this ${object.label} alone`;
  button.addEventListener("click", () => choose(object === state.chosen ? null : object));
  button.addEventListener("pointerenter", () => repaint(object));
  button.addEventListener("pointerleave", () => repaint());
  const item = document.createElement("li");
  item.append(button);
  return item;
}

function choose(object) {
  state.chosen = object;
  const shown = shownObjects();
  [...at.objects.children].forEach((item, i) => item.firstChild.setAttribute("aria-pressed", shown[i] === object));
  repaint();
}

function summary(shown) {
  const counts = new Map();
  for (const { label } of shown) counts.set(label, (counts.get(label) ?? 0) + 1);
  const kinds = [...counts].map(([label, count]) => (count > 1 ? `${label} × ${count}` : label)).join(", ");
  const fewer = state.objects.length - shown.length;
  const rest = fewer ? ` ${fewer} more below this score.` : "";
  if (!shown.length) return `None with a score of ${at.score.value} % or more.${rest}`;
  return `${shown.length} ${shown.length === 1 ? "object" : "objects"}: ${kinds}.${rest}`;
}

/** Draw the picture as large as the stage allows; `pointed` stands out for as long as the pointer is upon its row. */
function repaint(pointed = state.chosen) {
  const { picture } = state;
  if (!picture) return;
  const width = at.stage.clientWidth - 2 * parseFloat(getComputedStyle(at.stage).paddingLeft);
  const height = Math.max(240, window.innerHeight * (window.innerWidth < 900 ? 0.62 : 0.82));
  const fit = Math.min(width / picture.width, height / picture.height, 4);
  const density = window.devicePixelRatio || 1;
  at.canvas.width = Math.max(1, Math.round(picture.width * fit * density));
  at.canvas.height = Math.max(1, Math.round(picture.height * fit * density));
  at.canvas.style.width = `${at.canvas.width / density}px`;
  const shown = shownObjects();
  at.canvas.setAttribute("aria-label", `${state.name}: ${shown.length ? shown.map(described).join("; ") : "no boxes"}`);
  paint(at.canvas, picture, shown, { unit: density, chosen: pointed });
}

function described({ label, confidence, bbox }) {
  const middle = [bbox[0] + bbox[2] / 2, bbox[1] + bbox[3] / 2];
  const third = (value, size, names) => names[Math.min(2, Math.max(0, Math.floor((3 * value) / size)))];
  const { width, height } = state.picture;
  const place = `${third(middle[1], height, ["top", "middle", "bottom"])} ${third(middle[0], width, ["left", "centre", "right"])}`;
  return `${label}, ${percent(confidence)}, ${place}`;
}

// ---- taking away

function jsonOf(objects) {
  const lines = objects.map(({ bbox, confidence, label }) => `  ${JSON.stringify({ bbox, confidence, label })}`);
  return lines.length ? `[\n${lines.join(",\n")}\n]` : "[]";
}

async function copyJson() {
  const text = jsonOf(shownObjects());
  try {
    await navigator.clipboard.writeText(text);
    flash(at.copy, "Copied");
  } catch {
    // Away from https and localhost a page has no clipboard: the text is laid out, marked, ready to be copied by hand.
    at["json-details"].open = true;
    getSelection().selectAllChildren(at.json);
    at.json.focus();
    flash(at.copy, document.execCommand("copy") ? "Copied" : "Marked below");
  }
}

async function downloadPng() {
  const { picture } = state;
  flash(at.download, "Saving …");
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  paint(canvas, picture, shownObjects(), { unit: Math.max(1, Math.max(picture.width, picture.height) / 900) });
  const blob = await canvas.convertToBlob({ type: "image/png" });
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: pngName() });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  flash(at.download, "Saved");
}

function pngName() {
  const stem = state.name.split(/[?#]/)[0].split("/").pop().replace(/\.\w+$/, "").replace(/[^\p{L}\p{N}_-]+/gu, "-");
  return `${stem || "picture"}-boxes.png`;
}

function flash(button, text) {
  button.dataset.text ??= button.textContent;
  button.textContent = text;
  at.status.textContent = `${text}.`;
  clearTimeout(Number(button.dataset.timer));
  button.dataset.timer = setTimeout(() => {
    button.textContent = button.dataset.text;
    if (isDone()) at.status.textContent = summary(shownObjects());
  }, 2000);
}

// ---- what people do

/** Take a picture, else an address, out of what was dropped or pasted; return whether there was one. */
function take(data) {
  const file = [...data.files].find(({ type }) => type.startsWith("image/")) ?? data.files[0];
  if (file) return useFile(file), true;
  const text = (data.getData("text/uri-list") || data.getData("text/plain")).trim().split(/\s/)[0];
  if (/^https?:\/\//i.test(text)) return useAddress(text), true;
  return false;
}

for (const opener of [at.choose, at.empty]) opener.addEventListener("click", () => at.file.click());
at.file.addEventListener("change", () => {
  if (at.file.files[0]) useFile(at.file.files[0]);
  at.file.value = ""; // the same file may be chosen again
});
at["address-form"].addEventListener("submit", (event) => {
  event.preventDefault();
  useAddress(at.address.value);
});
at.model.addEventListener("change", () => {
  describeModel();
  state.again?.();
});
at.retry.addEventListener("click", () => state.again?.());
at.score.addEventListener("input", () => {
  sessionStorage.setItem(KEPT, at.score.value);
  update();
});
at.copy.addEventListener("click", copyJson);
at.download.addEventListener("click", downloadPng);

document.addEventListener("paste", (event) => {
  const typing = event.target === at.address && !event.clipboardData.files.length;
  if (!typing && take(event.clipboardData)) event.preventDefault();
});
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    at.stage.classList.add("over");
  });
}
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) at.stage.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  at.stage.classList.remove("over");
  take(event.dataTransfer);
});
new ResizeObserver(() => repaint()).observe(at.stage);

at.score.value = sessionStorage.getItem(KEPT) ?? at.score.value;
update();
loadModels();
