// Packets of maps and outlines (das_explain/report/packets.py): loaded when needed, enlarged, painted.

const COLOURS = (() => {
  const table = new Uint32Array(256), order = new Uint8Array(table.buffer);
  for (let i = 0; i < 1024; i++) order[i] = i % 4 === 3 ? 255 : parseInt(DATA.colours.slice(6 * (i >> 2) + 2 * (i % 4), 6 * (i >> 2) + 2 * (i % 4) + 2), 16) || 0;
  return table;
})();

// 15 bits a character, from U+3000 on -> bytes.
function bytesOf(length, text) {
  const bytes = new Uint8Array(length);
  let held = 0, bits = 0, at = 0;
  for (let i = 0; at < length; i++) {
    held = (held << 15) | (text.charCodeAt(i) - 0x3000);
    bits += 15;
    while (bits >= 8 && at < length) {
      bits -= 8;
      bytes[at++] = held >> bits;
    }
    held &= (1 << bits) - 1;
  }
  return bytes;
}

// What an image's packet holds: {outlines, maps[model][block]}, maps Float32Array in [0, 1].
function unpack(image, bytes) {
  const length = new DataView(bytes.buffer).getUint32(0, true);
  const outlines = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  let at = 4 + length;
  const maps = image.models.map((answer, model) => (answer ? answer.cells : []).map((cell, block) => {
    if (!cell || cell.blank) return null;
    const { height, width, bits } = DATA.shapes[model][block];
    const map = new Float32Array(height * width), top = 2 ** bits - 1, there = at;
    at += Math.ceil(map.length / 8);
    for (let i = 0; i < map.length; i++) {
      if (!(bytes[there + (i >> 3)] & (128 >> (i & 7)))) continue;
      let value = 0;
      for (let byte = 0; byte < bits; byte += 8) value = value * 256 + bytes[at++];
      map[i] = value / top;
    }
    return map;
  }));
  return { outlines, maps };
}

const KEPT = 96; // images whose maps stay in memory
const loaded = new Map(); // image -> {outlines, maps}, the longest unused first
const loading = new Map(); // image -> promise of it
const NOTHING = { outlines: [], maps: MODELS.map(() => []) };

function runScript(address) {
  return new Promise((done, fail) => {
    const script = el("script", { src: address, onload: done, onerror: fail });
    document.head.append(script);
    script.addEventListener("load", () => script.remove());
  });
}

// The image's maps and outlines, from memory or from disk; nothing where its file is missing.
function load(image) {
  if (loaded.has(image)) {
    const found = loaded.get(image);
    loaded.delete(image);
    loaded.set(image, found);
    return Promise.resolve(found);
  }
  if (!image.packet) return Promise.resolve(NOTHING);
  if (!loading.has(image)) loading.set(image, fetchPacket(image).finally(() => loading.delete(image)));
  return loading.get(image);
}

async function fetchPacket(image) {
  try {
    if (!DATA.packets[image.index]) await runScript(`images/${String(image.index).padStart(6, "0")}.js`);
    const found = unpack(image, bytesOf(...DATA.packets[image.index]));
    if (!DATA.pictures) delete DATA.packets[image.index];
    loaded.set(image, found);
    if (loaded.size > KEPT) loaded.delete(loaded.keys().next().value);
    return found;
  } catch {
    return NOTHING;
  }
}

// For each of n output pixels the two source pixels and the weight of the second (half-pixel centres, float32), as in
// torch's interpolate(align_corners=False), which made the map that was scored.
function taps(from, to) {
  const low = new Int32Array(to), high = new Int32Array(to), weight = new Float32Array(to), scale = Math.fround(from / to);
  for (let i = 0; i < to; i++) {
    const at = Math.max(0, Math.fround(Math.fround(scale * (i + 0.5)) - 0.5));
    low[i] = Math.min(from - 1, Math.floor(at));
    high[i] = Math.min(from - 1, low[i] + 1);
    weight[i] = at - low[i];
  }
  return { low, high, weight };
}

const EPSILON = 1e-7; // das_explain/cam/engine.py

// A map at the size of a frame: bilinear, then min-max again, as das_explain.cam.engine.upsample. Float32Array (H * W).
function enlarge(source, shape, height, width) {
  const across = taps(shape.width, width), down = taps(shape.height, height);
  const out = new Float32Array(height * width);
  let least = Infinity, most = -Infinity;
  for (let y = 0, at = 0; y < height; y++) {
    const top = down.low[y] * shape.width, bottom = down.high[y] * shape.width, v = down.weight[y];
    for (let x = 0; x < width; x++, at++) {
      const l = across.low[x], r = across.high[x], u = across.weight[x];
      const upper = source[top + l] * (1 - u) + source[top + r] * u;
      const lower = source[bottom + l] * (1 - u) + source[bottom + r] * u;
      const value = upper * (1 - v) + lower * v;
      out[at] = value;
      if (value < least) least = value;
      if (value > most) most = value;
    }
  }
  least = Math.fround(least);
  const range = Math.fround(EPSILON + Math.fround(most - least));
  for (let i = 0; i < out.length; i++) out[i] = Math.fround(out[i] - least) / range;
  return out;
}

// Paint a map on a canvas of its own; the photo below is never read, so file:// taints nothing.
function paint(canvas, map, shape) {
  const context = canvas.getContext("2d");
  const picture = context.createImageData(canvas.width, canvas.height), pixels = new Uint32Array(picture.data.buffer);
  const large = enlarge(map, shape, canvas.height, canvas.width);
  for (let i = 0; i < pixels.length; i++) pixels[i] = COLOURS[Math.min(255, large[i] * 256 | 0)];
  context.putImageData(picture, 0, 0);
  canvas.dataset.painted = "";
}

// Work that may wait: a few milliseconds of it at a time, so that scrolling stays smooth.
const jobs = [];
const SLICE = 6; // milliseconds
let working = false;

function later(job) {
  jobs.push(job);
  if (!working) setTimeout(work, 0);
  working = true;
}

function work() {
  const until = performance.now() + SLICE;
  while (jobs.length && performance.now() < until) jobs.shift()();
  working = jobs.length > 0;
  if (working) setTimeout(work, 0);
}

// Canvases wait for their paint until they come near the screen (or the page goes to a printer).
const pending = new Map(); // canvas -> {image, model, block}
const painter = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    const wanted = isIntersecting && pending.get(target);
    if (wanted) load(wanted.image).then(() => later(() => paintNow(target)));
  }
}, { rootMargin: "400px" });

// Paint if the maps are in memory.
function paintNow(canvas) {
  const wanted = pending.get(canvas), held = wanted && loaded.get(wanted.image);
  if (!held) return;
  pending.delete(canvas);
  painter.unobserve(canvas);
  const map = held.maps[wanted.model][wanted.block];
  if (map) paint(canvas, map, DATA.shapes[wanted.model][wanted.block]);
}

function paintLater(canvas, wanted) {
  pending.set(canvas, wanted);
  painter.observe(canvas);
}

function forget(root) {
  for (const canvas of root.querySelectorAll("canvas")) {
    pending.delete(canvas);
    painter.unobserve(canvas);
  }
}

window.addEventListener("beforeprint", () => [...pending.keys()].forEach(paintNow));

const rectangle = ({ x0, y0, x1, y1 }) => `M${2 * x0} ${2 * y0}H${2 * x1}V${2 * y1}H${2 * x0}Z`;

// B over a frame, as two lines each.
const boxLines = (boxes) => boxes.flatMap(({ box, model }) => [
  svg("path", { class: "halo b", d: rectangle(box) }), svg("path", { class: "b-line b", d: rectangle(box), "data-model": model }),
]);

// R and B over a frame. Outlines come in half pixels of the frame, boxes in pixels; R is added when it is loaded.
function drawing(image, frame, boxes, finds) {
  const { height, width } = DATA.frames[frame];
  const lines = svg("g", { class: "boxes" }, boxLines(boxes));
  const found = finds.map((find) => svg("path", { class: find.used ? "d-line d used" : "d-line d", d: rectangle(find) }, find.score === null ? null : svg("title", {}, `box, score ${fixed(find.score)}`)));
  const root = svg("svg", { class: "drawing", viewBox: `0 0 ${2 * width} ${2 * height}`, preserveAspectRatio: "none", "aria-hidden": "true" }, lines, found);
  load(image).then(({ outlines }) => {
    const d = outlines[frame];
    if (d) root.append(svg("path", { class: "halo r", d }), svg("path", { class: "r-line r", d }));
  });
  return root;
}

// One picture: the photo as the network saw it, a map over it or not, R and B over both.
function picture(image, { frame = 0, map = null, boxes = [], finds = [], alt, detail = 1 }) {
  const { height, width } = DATA.frames[frame];
  const stack = el("div", { class: "stack-of-layers" });
  stack.style.aspectRatio = `${width} / ${height}`;
  const path = image.frames[frame], source = path && DATA.pictures ? DATA.pictures[path] : path;
  if (source) stack.append(el("img", { src: source, alt: map ? "" : alt, width, height, decoding: "async" }));
  else if (!map) stack.append(el("p", { class: "missing" }, image.message || "No picture"));
  if (map) {
    const scale = Math.min(1, 160 * detail / Math.max(height, width));
    const canvas = el("canvas", { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)), role: "img", "aria-label": alt });
    paintLater(canvas, { image, ...map });
    stack.append(canvas);
  }
  stack.append(drawing(image, frame, boxes, finds));
  return stack;
}
