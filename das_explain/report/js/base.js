// The data, small helpers, and the one rule of this page: text from a run enters the document only as text.

const DATA = window.DAS || { images: [], models: [], pairs: [], pair: null, blocks: [], scoring: null, packets: {}, shapes: [], frames: [{ height: 224, width: 224 }], colours: "" };
const MODELS = DATA.models, BLOCKS = DATA.blocks, IMAGES = DATA.images;
for (const image of IMAGES) {
  for (const cell of image.models.flatMap((model) => (model ? model.cells : []))) {
    if (cell && cell.box && !(cell.box.x1 > cell.box.x0 && cell.box.y1 > cell.box.y0)) cell.box = null;
  }
}
const BY_INDEX = new Map(IMAGES.map((image) => [image.index, image]));

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) node.append(child);
  }
  return node;
}

// el("p", {class: "note"}, "text", node): strings become text nodes, never markup.
const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

const MINUS = "\u2212";
const fixed = (value, digits = 2) => (value === null ? "–" : value.toFixed(digits).replace("-", MINUS));
// With its sign; what rounds to zero has none.
const signed = (value, digits = 2) => {
  if (value === null || Number(value.toFixed(digits)) === 0) return value === null ? "–" : (0).toFixed(digits);
  return value > 0 ? `+${fixed(value, digits)}` : fixed(value, digits);
};
const percent = (value) => (value === null ? "" : `${Math.round(100 * value)}\u202f%`);
// Four significant digits.
const digits = (value) => (value === null ? "–" : String(Number(value.toPrecision(4))).replace("-", MINUS));
const count = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;

// At most so many characters, beginning and end kept: das_explain/text.py.
function cutMiddle(text, room) {
  const letters = [...text];
  if (letters.length <= room) return text;
  return `${letters.slice(0, Math.floor(room / 2)).join("").trimEnd()}…${letters.slice(letters.length - Math.floor((room - 1) / 2)).join("").trimStart()}`;
}

const STATUS_WORDS = {
  ok: "scored",
  no_background: "no background in B",
  no_object: "no object found",
  faint_cam: "faint map",
  zero_cam: "empty map",
  nonfinite_cam: "map not finite",
  unreadable: "unreadable image",
  no_mask: "no mask",
  mask_unreadable: "mask unreadable",
  mask_mismatch: "mask of another size",
  unknown_label: "unknown label",
  no_partner: "no partner",
  not_asked: "not asked yet",
  whole_frame: "object fills the frame",
  nonfinite_output: "answer not finite",
  no_confidence: "no confidence at all",
};
const statusWords = (status) => (Object.hasOwn(STATUS_WORDS, status) ? STATUS_WORDS[status] : status);

const SCORED = new Set(["ok", "no_background", "faint_cam"]); // das_explain/statuses.py
const cellOf = (image, model, block) => (image.models[model] ? image.models[model].cells[block] : null);
// A score that counts.
const scoreOf = (image, model, block) => {
  const cell = cellOf(image, model, block);
  return cell && SCORED.has(cell.status) ? cell.sfd : null;
};
const difference = (first, second) => (first === null || second === null ? null : second - first);
const differenceOf = (image, a, b, block) => difference(scoreOf(image, a, block), scoreOf(image, b, block));
const key = (model, name) => el("span", { class: "key", "data-model": model % 7 }, name === undefined ? MODELS[model] : name);
