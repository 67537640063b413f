// The data, small helpers, and the one rule of this page: text from a run enters the document only as text.

const DATA = window.DAS || { images: [], models: [], groups: [], blocks: [], statuses: [], frames: [[224, 224]], colours: "" };
const MODELS = DATA.models, BLOCKS = DATA.blocks;

// Entries of data.js are arrays, in the order of das_explain/report/gallery.py.
const IMAGES = DATA.images.map(([index, name, label, status, message, frames, outlines, models, region]) => ({
  index, name, label, message, frames, outlines,
  region: region && { prompt: region[0], score: region[1], iou: region[2], retried: Boolean(region[3]), used: region[4], of: region[5], boxes: region[6] },
  status: DATA.statuses[status],
  models: models.map(([facts, cells]) => ({
    facts: facts && { target: facts[0], predicted: facts[1], confidence: facts[2], correct: facts[3] },
    cells: cells.map((cell) => cell && {
      sfd: cell[0], status: DATA.statuses[cell[1]], wR: cell[2], wN: cell[3], camMax: cell[4], rArea: cell[5],
      box: cell[6] && cell[6][2] > cell[6][0] && cell[6][3] > cell[6][1] ? cell[6] : null, map: cell[7], frame: cell[8],
    }),
  })),
}));
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
const plain = (value) => (value === null ? "–" : String(value).replace("-", MINUS));
const count = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;

const STATUS_WORDS = {
  ok: "scored",
  no_background: "no background in B",
  no_object: "no object found",
  zero_cam: "empty map",
  nonfinite_cam: "map not finite",
  unreadable: "unreadable image",
  no_mask: "no mask",
  mask_unreadable: "mask unreadable",
  mask_mismatch: "mask of another size",
  unknown_label: "unknown label",
};
const statusWords = (status) => (Object.hasOwn(STATUS_WORDS, status) ? STATUS_WORDS[status] : status);

const cellOf = (image, model, block) => image.models[model].cells[block];
// A score that counts: only rows whose status is ok.
const scoreOf = (image, model, block) => {
  const cell = cellOf(image, model, block);
  return cell && cell.status === "ok" ? cell.sfd : null;
};
const differenceOf = (image, a, b, block) => {
  const first = scoreOf(image, a, block), second = scoreOf(image, b, block);
  return first === null || second === null ? null : second - first;
};
const key = (model, name) => el("span", { class: "key", "data-model": model % 7 }, name === undefined ? MODELS[model] : name);
