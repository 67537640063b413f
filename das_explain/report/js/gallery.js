// The gallery: controls above, one page of cards, pagers above and below.

const cards = document.getElementById("cards");
const controls = document.getElementById("controls");
const pagers = [document.getElementById("pager-top"), document.getElementById("pager-bottom")];
const FIRST = 6; // cards that are built at once; the others of the page follow one by one
const PRINTED = 12; // cards that the style sheet leaves on paper
let chosen = [];
let latest = null; // marks the newest view, so that an older one's cards do not follow it

// ``typing`` leaves the controls as they are, so that a word being written is not disturbed.
function change(changes, typing = false) {
  state = { ...state, page: "1", ...changes };
  update(typing);
}

function options(list, current) {
  return list.map(([value, text]) => el("option", { value, selected: value === current }, cutMiddle(text, 60)));
}

function choice(name, text, list, current) {
  return el("label", { class: "field" }, el("span", {}, text),
    el("select", { name, onchange: (event) => change({ [name]: event.target.value, ...(name === "sort" ? { dir: "" } : {}) }) }, options(list, current)));
}

// Counts per value, most frequent spelling kept, sorted by name: [["cat", "cat (12)"], ...].
function counted(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) || 0) + 1);
  return [...counts].sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true })).map(([value, n]) => [value, `${value} (${n})`]);
}

const CLASSES = LABELLED ? counted(IMAGES.map(classOf)) : [];
const STATUSES = counted(IMAGES.flatMap((image) => [...statusesOf(image)])).map(([value, text]) => [value, text.replace(value, statusWords(value))]);

function sortWords() {
  const up = direction() === "asc", pair = chosenPair();
  if (state.sort === "order") return up ? "first to last" : "last to first";
  if (state.sort === "name") return up ? "A to Z" : "Z to A";
  if (state.sort === "delta" && pair) return `${MODELS[pair[up ? 0 : 1]]} ahead first`;
  return up ? "lowest first" : "highest first";
}

// What can be sorted by: [[value, text], ...].
function sortings() {
  const pair = chosenPair(), sorts = [["order", "order of the run"]];
  if (pair) sorts.push(["delta", `difference ${MODELS[pair[1]]} ${MINUS} ${MODELS[pair[0]]}`], ["abs", "size of the difference"]);
  MODELS.forEach((model) => sorts.push([`sfd:${model}`, `sfd of ${model}`]));
  return [...sorts, ["name", "name"]];
}

// Paper has no pager: it says which images it holds.
function printedWords(page) {
  const from = (page - 1) * PAGE, to = Math.min(chosen.length, from + PRINTED);
  if (to - from >= IMAGES.length) return "";
  const sorted = new Map(sortings()).get(state.sort);
  return `${(to - from).toLocaleString("en")} of ${count(IMAGES.length, "image")}, sorted by ${sorted} (${sortWords()})`
    + (from ? `, from number ${(from + 1).toLocaleString("en")} on` : "")
    + (chosen.length < IMAGES.length ? `, of ${chosen.length.toLocaleString("en")} that pass the filters` : "")
    + "; the rest is in the file.";
}

function toggles(name, text, list) {
  if (list.length < 2) return null;
  return el("fieldset", { class: "toggles" }, el("legend", {}, text),
    list.map((value, i) => el("label", {},
      el("input", {
        type: "checkbox", name, value, checked: !state[name].includes(value),
        onchange: (event) => {
          const hidden = state[name].filter((other) => other !== value);
          change({ [name]: event.target.checked ? hidden : [...hidden, value], page: state.page });
        },
      }), name === "hidemodel" ? key(i) : el("span", {}, value))));
}

function buildControls() {
  const focus = document.activeElement && controls.contains(document.activeElement) ? [document.activeElement.name, document.activeElement.value, document.activeElement.type] : null;
  const pair = chosenPair(), sorts = sortings();
  const hits = MODELS.length === 1
    ? [["", "right or wrong"], ["all", "right"], ["none", "wrong"]]
    : [["", "right or wrong"], ["all", "all right"], ["none", "all wrong"], ["mixed", "models differ"], ...MODELS.map((model) => [`only:${model}`, `only ${model} right`])];
  controls.replaceChildren(...[
    el("div", { class: "row" },
      choice("sort", "Sort by", sorts, state.sort),
      el("button", { type: "button", name: "dir", class: "plain", "aria-label": `Order: ${sortWords()}; change`, onclick: () => change({ dir: direction() === "asc" ? "desc" : "asc" }) }, sortWords()),
      BLOCKS.length > 1 ? choice("block", "at block", BLOCKS.map((block) => [block, block]), BLOCKS[chosenBlock()]) : null,
      PAIRS.length > 1 ? choice("pair", "Pair", PAIRS.map((each) => [pairName(each), `${MODELS[each[0]]} and ${MODELS[each[1]]}`]), pairName(pair)) : null),
    el("div", { class: "row" },
      LABELLED ? choice("class", "Class", [["", "all classes"], ...CLASSES], state.class) : null,
      choice("status", "Status", [["", "any status"], ...STATUSES], state.status),
      JUDGED ? choice("hit", "Prediction", hits, state.hit) : null,
      el("label", { class: "field" }, el("span", {}, "Name holds"),
        el("input", { type: "search", name: "q", value: state.q, placeholder: "part of a file name", autocomplete: "off", oninput: (event) => change({ q: event.target.value }, true) }))),
    el("div", { class: "row" },
      toggles("hidemodel", "Models", MODELS), toggles("hideblock", "Blocks", BLOCKS),
      el("fieldset", { class: "toggles" }, el("legend", {}, "Lines"),
        [["r", "R, object"], ["b", "B, box"]].map(([name, text]) => el("label", {},
          el("input", { type: "checkbox", name, checked: state[name] === "1", onchange: (event) => restyle({ [name]: event.target.checked ? "1" : "0" }) }), el("span", {}, text)))),
      heatSlider()),
    readingControls(),
  ].filter(Boolean));
  controls.hidden = !IMAGES.length;
  if (focus) {
    const [name, value, type] = focus;
    const same = [...controls.elements].filter((node) => node.name === name);
    const node = type === "checkbox" ? same.find((other) => other.value === value) : same[0];
    if (node) node.focus();
  }
}

const heatSlider = () => el("label", { class: "field heat" }, el("span", {}, "Heat"),
  el("input", { type: "range", name: "heat", min: 0, max: 100, value: state.heat, "aria-label": "Opacity of the heat maps in percent", oninput: (event) => restyle({ heat: event.target.value }) }));

// Another threshold and scaling: scores, B and differences of cards and viewer follow, computed from the maps.
function readingControls() {
  if (!OWN) return null;
  const own = isOwn();
  return el("div", { class: "row reading" },
    el("label", { class: "field" }, el("span", {}, "Threshold of B"),
      el("input", { type: "range", name: "t", min: 0.05, max: 0.95, step: 0.01, value: state.t, oninput: (event) => reading({ t: String(Number(event.target.value)) }) }),
      el("output", { class: "threshold" }, Number(state.t).toFixed(2))),
    el("label", { class: "field" }, el("span", {}, "Scaling of w"),
      el("select", { name: "scaling", onchange: (event) => reading({ scaling: event.target.value }) }, options(Object.entries(SCALING_WORDS), state.scaling))),
    el("button", { type: "button", name: "own", class: "plain", hidden: own, onclick: () => reading({ t: DEFAULTS.t, scaling: DEFAULTS.scaling }) }, "As the run was scored"),
    el("p", { class: "note", hidden: own, role: "status" }, "Scores, B and differences of the images below are computed anew, here. Sorting, tables and charts keep the run’s own reading."));
}

function reading(changes) {
  state = { ...state, ...changes };
  const own = isOwn();
  for (const node of controls.querySelectorAll(".reading [name=own], .reading .note")) node.hidden = own;
  for (const node of controls.querySelectorAll("input[name=t]")) node.value = state.t;
  for (const node of controls.querySelectorAll("select[name=scaling]")) node.value = state.scaling;
  controls.querySelector(".threshold").textContent = Number(state.t).toFixed(2);
  rereadAll();
  writeState();
}

// Cards in order, each as a job of its own; a newer reading overtakes an older one.
function rereadAll() {
  const key = readingKey();
  const roots = [...cards.children].filter((root) => root.dataset.reading !== key);
  if (viewer.open) roots.unshift(viewer);
  for (const root of roots) {
    const image = BY_INDEX.get(Number(root === viewer ? state.image : root.dataset.index));
    load(image).then(() => later(() => { if (readingKey() === key && root.isConnected) reread(root, image); }));
  }
}

// Changes of looks only: no card is built again.
function restyle(changes) {
  state = { ...state, ...changes };
  const root = document.documentElement;
  root.style.setProperty("--heat", String(Math.min(100, Math.max(0, Number(state.heat) || 0)) / 100));
  root.classList.toggle("without-r", state.r !== "1");
  root.classList.toggle("without-b", state.b !== "1");
  for (const node of document.querySelectorAll("input[name=heat]")) node.value = state.heat;
  writeState();
}

function pager(place, page, pages) {
  const from = (page - 1) * PAGE;
  const text = chosen.length
    ? `${(from + 1).toLocaleString("en")} to ${Math.min(chosen.length, from + PAGE).toLocaleString("en")} of ${count(chosen.length, "image")}` + (chosen.length < IMAGES.length ? `, filtered from ${IMAGES.length.toLocaleString("en")}` : "")
    : IMAGES.length ? "No image passes these filters." : "This run has no images.";
  const go = (to) => {
    change({ page: String(to) });
    document.getElementById("controls").scrollIntoView();
  };
  const filtered = ["class", "status", "hit", "q"].some((name) => state[name]);
  place.replaceChildren(...[
    el("p", { "aria-live": place === pagers[0] ? "polite" : null }, text),
    filtered && place === pagers[0] ? el("button", { type: "button", class: "plain", onclick: () => change({ class: "", status: "", hit: "", q: "" }) }, "Clear filters") : null,
    pages > 1 ? el("span", { class: "pages" },
      el("button", { type: "button", class: "plain", disabled: page <= 1, "aria-label": "Previous page", onclick: () => go(page - 1) }, "‹"),
      el("span", {}, `page ${page} of ${pages}`),
      el("button", { type: "button", class: "plain", disabled: page >= pages, "aria-label": "Next page", onclick: () => go(page + 1) }, "›")) : null,
  ].filter(Boolean));
  place.hidden = place === pagers[1] && pages <= 1;
}

function update(typing = false) {
  chosen = selection();
  const pages = Math.max(1, Math.ceil(chosen.length / PAGE));
  const page = Math.min(pages, Math.max(1, Math.floor(Number(state.page)) || 1));
  state.page = String(page);
  if (!typing) buildControls();
  pagers.forEach((place) => pager(place, page, pages));
  document.getElementById("printed").textContent = printedWords(page);
  forget(cards);
  const columns = Math.max(1, shownBlocks().length), models = shownModels().length;
  const photo = models > 1 ? 2 : 1.3; // as wide as so many maps
  cards.style.setProperty("--blocks", columns);
  cards.style.setProperty("--blocks-wide", `${columns}fr`);
  cards.style.setProperty("--photo", `${photo}fr`);
  cards.style.setProperty("--card", `${Math.round((photo + columns) * (columns > 2 ? 88 : 112) + 48)}px`);
  const shown = chosen.slice((page - 1) * PAGE, page * PAGE);
  cards.replaceChildren(...shown.slice(0, FIRST).map((image) => card(image, openViewer)));
  restyle({});
  const view = (latest = {});
  cards.setAttribute("aria-busy", "true");
  for (const image of shown.slice(FIRST)) later(() => { if (view === latest) cards.append(card(image, openViewer)); });
  later(() => {
    if (view !== latest) return;
    cards.removeAttribute("aria-busy");
    if (!isOwn()) rereadAll();
  });
  later(showPair);
}
