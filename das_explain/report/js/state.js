// What the reader chose, kept in the address after "#", so that a view can be sent to someone and opened again.

const PAGE = 24;
const PAIRS = DATA.pairs; // as model numbers, second less first
const DEFAULTS = { sort: "order", dir: "", block: "", pair: "", class: "", status: "", hit: "", q: "", page: "1", image: "", r: "1", b: "1", heat: "55", t: String(DATA.scoring ? DATA.scoring.threshold : 0.3), scaling: DATA.scoring ? DATA.scoring.scaling : "antilog" };
const SORTS = new Set(["order", "name", ...(PAIRS.length ? ["delta", "abs"] : []), ...MODELS.map((model) => `sfd:${model}`)]);
const MANY = ["hidemodel", "hideblock"];

const SCALING_WORDS = { antilog: "10^w − 1", "antilog-literal": "10^w", exp: "e^w", linear: "w" };

function readState(hash) {
  const state = { ...DEFAULTS, hidemodel: [], hideblock: [] };
  if (!hash.includes("=")) return state; // a link to a section, not a view
  const given = new URLSearchParams(hash.slice(1));
  for (const name of Object.keys(DEFAULTS)) if (given.has(name)) state[name] = given.get(name);
  for (const name of MANY) state[name] = given.getAll(name);
  if (!SORTS.has(state.sort)) state.sort = DEFAULTS.sort;
  if (!(Number(state.t) > 0 && Number(state.t) <= 1)) state.t = DEFAULTS.t;
  if (!Object.hasOwn(SCALING_WORDS, state.scaling)) state.scaling = DEFAULTS.scaling;
  return state;
}

function address() {
  const given = new URLSearchParams();
  for (const name of Object.keys(DEFAULTS)) if (state[name] !== DEFAULTS[name]) given.set(name, state[name]);
  for (const name of MANY) for (const value of state[name]) given.append(name, value);
  return `#${given}`;
}

// Browsers refuse too many changes of the address in a row, so a slider's drag is written once, at its end.
let writing = 0;
function writeState() {
  clearTimeout(writing);
  writing = setTimeout(() => history.replaceState(null, "", address()), 150);
}

let state = readState(location.hash);

// The chosen pair [a, b] as model numbers, or null with one model.
// In the address: "nameA|nameB".
const FIRST_PAIR = PAIRS[DATA.pair] || null;
const pairName = ([a, b]) => `${MODELS[a]}|${MODELS[b]}`;
const chosenPair = () => PAIRS.find((pair) => pairName(pair) === state.pair) || FIRST_PAIR;
// The block that sorting and the boxes on the photo speak of: the last one unless chosen.
const chosenBlock = () => (BLOCKS.includes(state.block) ? BLOCKS.indexOf(state.block) : BLOCKS.length - 1);
const shownModels = () => MODELS.map((_, i) => i).filter((i) => !state.hidemodel.includes(MODELS[i]));
const shownBlocks = () => BLOCKS.map((_, i) => i).filter((i) => !state.hideblock.includes(BLOCKS[i]));

const ASCENDING = new Set(["order", "name"]);
const direction = () => (state.dir === "asc" || state.dir === "desc" ? state.dir : ASCENDING.has(state.sort) ? "asc" : "desc");

function sortValue(image) {
  const block = chosenBlock(), pair = chosenPair();
  if (state.sort === "name") return image.name;
  if (state.sort === "delta" || state.sort === "abs") {
    const difference = pair && differenceOf(image, pair[0], pair[1], block);
    return difference === null || state.sort === "delta" ? difference : Math.abs(difference);
  }
  if (state.sort.startsWith("sfd:")) {
    const model = MODELS.indexOf(state.sort.slice(4));
    return model < 0 ? null : scoreOf(image, model, block);
  }
  return image.index;
}

const LABELLED = IMAGES.some((image) => image.label !== null);
const JUDGED = IMAGES.some((image) => image.models.some((model) => model && model.correct !== null));
const classOf = (image) => (image.label === null ? "(no label)" : image.label);

function hitMatches(image) {
  if (!state.hit) return true;
  const verdicts = image.models.map((model) => (model ? model.correct : null));
  if (verdicts.some((verdict) => verdict === null)) return false;
  if (state.hit === "all") return verdicts.every(Boolean);
  if (state.hit === "none") return !verdicts.some(Boolean);
  if (state.hit === "mixed") return verdicts.some(Boolean) && !verdicts.every(Boolean);
  const only = MODELS.indexOf(state.hit.slice(5));
  return verdicts.every((verdict, model) => Boolean(verdict) === (model === only));
}

// An image has every status that one of its rows has; without rows, its own.
function statusesOf(image) {
  const found = new Set(image.models.flatMap((model) => (model ? model.cells.filter(Boolean).map((cell) => cell.status) : [])));
  if (image.status !== "ok" || !found.size) found.add(image.status);
  return found;
}

// The images that pass all filters, in the chosen order; images without a value come last in either direction.
function selection() {
  const query = state.q.trim().toLowerCase();
  const chosen = IMAGES.filter((image) =>
    (!query || image.name.toLowerCase().includes(query))
    && (!state.class || classOf(image) === state.class)
    && (!state.status || statusesOf(image).has(state.status))
    && hitMatches(image));
  const sign = direction() === "asc" ? 1 : -1;
  return chosen
    .map((image) => ({ image, value: sortValue(image) }))
    .sort((first, second) => {
      if (first.value === null || second.value === null) return (first.value === null) - (second.value === null) || first.image.index - second.image.index;
      const order = typeof first.value === "string" ? (first.value < second.value ? -1 : first.value > second.value ? 1 : 0) : first.value - second.value;
      return sign * order || first.image.index - second.image.index;
    })
    .map(({ image }) => image);
}
