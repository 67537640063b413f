// sfd in another reading (threshold, scaling), computed here from the maps as das_explain/measures/sfd.py does.

const OWN = DATA.scoring; // how the run was scored; null: not known, then nothing is computed
const SCALINGS = {
  antilog: (w) => Math.expm1(w * Math.LN10),
  "antilog-literal": (w) => 10 ** w,
  exp: Math.exp,
  linear: (w) => w,
};
const COMPUTED = new Set([...SCORED, "zero_cam"]); // statuses that depend on the reading; the others stay

// The pixels inside an outline (payload.outline): its lines run half-way between the pixels that they part, so that a
// scan line just below a row's middle crosses one between every two pixels of which one is inside.
function maskOf(outline, height, width) {
  const mask = new Uint8Array(height * width), flips = Array.from({ length: height }, () => []);
  for (const part of outline.split("z")) {
    const numbers = part.match(/-?\d+/g);
    if (!numbers) continue;
    const points = [[Number(numbers[0]), Number(numbers[1])]];
    for (let i = 2; i < numbers.length; i += 2) {
      const [x, y] = points[points.length - 1];
      points.push([x + Number(numbers[i]), y + Number(numbers[i + 1])]);
    }
    points.forEach(([x0, y0], i) => {
      const [x1, y1] = points[(i + 1) % points.length];
      const upper = Math.min(y0, y1), lower = Math.max(y0, y1);
      for (let row = Math.max(0, Math.floor((upper - 1) / 2)); row < height && 2 * row + 1.01 < lower; row++) {
        const line = 2 * row + 1.01;
        if (line > upper) flips[row].push(x0 + (x1 - x0) * (line - y0) / (y1 - y0));
      }
    });
  }
  flips.forEach((across, row) => {
    across.sort((a, b) => a - b);
    for (let i = 0; i + 1 < across.length; i += 2) {
      const from = Math.max(0, Math.ceil((across[i] - 1) / 2)), to = Math.min(width, Math.ceil((across[i + 1] - 1) / 2));
      mask.fill(1, row * width + from, row * width + to);
    }
  });
  return mask;
}

// The smallest rectangle around the pixels that ``holds`` says yes to, exclusive at its ends; null around none.
function boundsOf(height, width, holds) {
  let x0 = width, y0 = height, x1 = 0, y1 = 0;
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      if (!holds(at)) continue;
      if (x < x0) x0 = x;
      if (x >= x1) x1 = x + 1;
      if (y < y0) y0 = y;
      y1 = y + 1;
    }
  }
  return x1 ? { x0, y0, x1, y1 } : null;
}

const around = (first, second) => (!first || !second ? first || second : {
  x0: Math.min(first.x0, second.x0), y0: Math.min(first.y0, second.y0), x1: Math.max(first.x1, second.x1), y1: Math.max(first.y1, second.y1),
});

// One map's score: ``map`` enlarged, ``box`` the rectangle B; with ``exact``, B is R and the salient pixels only.
function scoreMap(map, mask, width, box, { threshold, scaling, exact }) {
  const scale = SCALINGS[scaling];
  let inside = 0, insideSum = 0, outside = 0, outsideSum = 0, weight = 0;
  for (let y = box.y0; y < box.y1; y++) {
    for (let x = box.x0, at = y * width + box.x0; x < box.x1; x++, at++) {
      const w = Math.min(1, Math.max(0, map[at]));
      if (mask[at]) {
        inside++;
        insideSum += scale(w);
      } else if (!exact || w >= threshold) {
        outside++;
        outsideSum += scale(w);
      } else continue;
      weight += w;
    }
  }
  const wR = insideSum / inside, wN = outside ? outsideSum / outside : 0;
  if (weight === 0 || wR + wN === 0) return { sfd: null, status: "zero_cam", box: null, w_r: null, w_n: null };
  return { sfd: wR / (wR + wN), status: outside ? "ok" : "no_background", box, w_r: wR, w_n: wN };
}

// All cells of an image in a reading: cells[model][block] of {sfd, status, box, w_r, w_n}, null where none is computed.
function readImage(image, { outlines, maps }, { threshold, scaling }) {
  const masks = outlines.map((outline, frame) => outline && maskOf(outline, DATA.frames[frame].height, DATA.frames[frame].width));
  const cells = MODELS.map(() => BLOCKS.map(() => null));
  BLOCKS.forEach((_, block) => {
    const found = [];
    MODELS.forEach((_, model) => {
      const map = maps[model] && maps[model][block];
      if (!map) return;
      const frame = image.models[model].frame, mask = masks[frame];
      if (!mask) return;
      const { height, width } = DATA.frames[frame];
      const large = enlarge(map, DATA.shapes[model][block], height, width);
      found.push({ model, frame, mask, width, large, salient: boundsOf(height, width, (at) => mask[at] || large[at] >= threshold) });
    });
    for (const { model, frame, mask, width, large, salient } of found) {
      if (!COMPUTED.has(cellOf(image, model, block).status) || !salient) continue;
      const box = OWN.box === "shared" ? found.filter((other) => other.frame === frame).reduce((all, other) => around(all, other.salient), null) : salient;
      cells[model][block] = scoreMap(large, mask, width, box, { threshold, scaling, exact: OWN.box === "region" });
    }
  });
  return cells;
}

const readings = new Map(); // image -> {key, cells}, of images whose maps are in memory
const readingKey = () => `${state.t} ${state.scaling}`;
const isOwn = () => !OWN || (Number(state.t) === OWN.threshold && state.scaling === OWN.scaling);

// A cell as the reader wants it read; as the run has it until its maps are loaded.
function shownCell(image, model, block) {
  const cell = cellOf(image, model, block);
  if (!cell || isOwn() || !loaded.has(image)) return cell;
  if ((readings.get(image) || {}).key !== readingKey()) {
    const reading = { threshold: Number(state.t), scaling: state.scaling };
    readings.set(image, { key: readingKey(), cells: readImage(image, loaded.get(image), reading) });
    if (readings.size > KEPT) readings.delete(readings.keys().next().value);
  }
  const computed = readings.get(image).cells[model][block];
  if (!computed) return cell;
  const faint = cell.status === "faint_cam" && computed.status === "ok"; // no reading makes a map less faint
  return { ...cell, ...computed, ...(faint ? { status: "faint_cam" } : {}) };
}

const shownScore = (image, model, block) => {
  const cell = shownCell(image, model, block);
  return cell && SCORED.has(cell.status) ? cell.sfd : null;
};
