// Heat maps: native-size grey maps from data.js, enlarged bilinearly as values and only then coloured.

const COLOURS = (() => {
  const table = new Uint8ClampedArray(256 * 3);
  for (let i = 0; i < table.length; i++) table[i] = parseInt(DATA.colours.slice(2 * i, 2 * i + 2), 16) || 0;
  return table;
})();

// For each of n output pixels the two source pixels and the weight of the second (half-pixel centres, as in
// torch's interpolate(align_corners=False), which made the map that was scored).
function taps(from, to) {
  const low = new Int32Array(to), high = new Int32Array(to), weight = new Float32Array(to);
  for (let i = 0; i < to; i++) {
    const at = Math.max(0, (i + 0.5) * from / to - 0.5);
    low[i] = Math.min(from - 1, Math.floor(at));
    high[i] = Math.min(from - 1, low[i] + 1);
    weight[i] = at - low[i];
  }
  return { low, high, weight };
}

// Paint a map {height, width, data: base64} on a canvas of its own; the photo below is never read, so file:// taints nothing.
function paint(canvas, { height, width, data }) {
  const source = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  const context = canvas.getContext("2d");
  const picture = context.createImageData(canvas.width, canvas.height);
  const across = taps(width, canvas.width), down = taps(height, canvas.height);
  let out = 0;
  for (let y = 0; y < canvas.height; y++) {
    const top = down.low[y] * width, bottom = down.high[y] * width, v = down.weight[y];
    for (let x = 0; x < canvas.width; x++) {
      const l = across.low[x], r = across.high[x], u = across.weight[x];
      const upper = source[top + l] * (1 - u) + source[top + r] * u;
      const lower = source[bottom + l] * (1 - u) + source[bottom + r] * u;
      const colour = 3 * Math.round(upper * (1 - v) + lower * v);
      picture.data[out++] = COLOURS[colour];
      picture.data[out++] = COLOURS[colour + 1];
      picture.data[out++] = COLOURS[colour + 2];
      picture.data[out++] = 255;
    }
  }
  context.putImageData(picture, 0, 0);
}

// Canvases wait for their paint until they come near the screen (or the page goes to a printer).
const pending = new Map();
const painter = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) paintNow(entry.target);
}, { rootMargin: "400px" });

function paintNow(canvas) {
  const map = pending.get(canvas);
  if (!map) return;
  pending.delete(canvas);
  painter.unobserve(canvas);
  paint(canvas, map);
  canvas.dataset.painted = "";
}

function paintLater(canvas, map) {
  pending.set(canvas, map);
  painter.observe(canvas);
}

function forget(root) {
  for (const canvas of root.querySelectorAll("canvas")) {
    pending.delete(canvas);
    painter.unobserve(canvas);
  }
}

window.addEventListener("beforeprint", () => [...pending.keys()].forEach(paintNow));

// R and B over a frame. Outlines come in half pixels of the frame, boxes in pixels.
function drawing(frame, outline, boxes, finds) {
  const { height, width } = DATA.frames[frame] || DATA.frames[0];
  const lines = [];
  for (const { box, model } of boxes) {
    const { x0, y0, x1, y1 } = box;
    const d = `M${2 * x0} ${2 * y0}H${2 * x1}V${2 * y1}H${2 * x0}Z`;
    lines.push(svg("path", { class: "halo b", d }), svg("path", { class: "b-line b", d, "data-model": model }));
  }
  for (const { x0, y0, x1, y1, score, used } of finds) {
    const d = `M${2 * x0} ${2 * y0}H${2 * x1}V${2 * y1}H${2 * x0}Z`;
    lines.push(svg("path", { class: used ? "d-line d used" : "d-line d", d }, score === null ? null : svg("title", {}, `box, score ${fixed(score)}`)));
  }
  if (outline) lines.push(svg("path", { class: "halo r", d: outline }), svg("path", { class: "r-line r", d: outline }));
  return svg("svg", { class: "drawing", viewBox: `0 0 ${2 * width} ${2 * height}`, preserveAspectRatio: "none", "aria-hidden": "true" }, lines);
}

// One picture: the photo as the network saw it, a map over it or not, R and B over both.
function picture(image, { frame = 0, map = null, boxes = [], finds = [], alt, detail = 1 }) {
  const { height, width } = DATA.frames[frame] || DATA.frames[0];
  const stack = el("div", { class: "stack-of-layers" });
  stack.style.aspectRatio = `${width} / ${height}`;
  const source = image.frames[frame];
  if (source) stack.append(el("img", { src: source, alt: map ? "" : alt, width, height, decoding: "async" }));
  else if (!map) stack.append(el("p", { class: "missing" }, image.message || "No picture"));
  if (map) {
    const scale = Math.min(1, 160 * detail / Math.max(height, width));
    const canvas = el("canvas", { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)), role: "img", "aria-label": alt });
    paintLater(canvas, map);
    stack.append(canvas);
  }
  stack.append(drawing(frame, image.outlines[frame], boxes, finds));
  return stack;
}
