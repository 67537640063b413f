// The chosen pair of models outside of the gallery: charts, and rows of tables that compare two models, show that pair.
// What they need of pairs is a script of its own, loaded once: DAS.byPair (das_explain/report/pairs.py).

const choosers = [...document.querySelectorAll(".pair-choice")];
let byPair = null;
function loadPairs() {
  if (!byPair) byPair = DATA.byPair ? Promise.resolve(DATA.byPair) : runScript("pairs.js").then(() => DATA.byPair, () => null);
  return byPair;
}

const strip = ({ low, middle, high }) => svg("svg", { viewBox: "0 0 100 16", preserveAspectRatio: "none", "aria-hidden": "true" },
  svg("path", { class: "zero", d: "M50 0V16" }), svg("path", { class: "whisker", d: `M${low} 8H${high}` }), svg("path", { class: "point", d: `M${middle} 3V13` }));

// A cell as templates/macros.html.j2 draws it.
const cellNodes = ({ text = "", interval, strong, model, mark }) => [
  model !== undefined ? key(model, text) : strong ? el("strong", {}, text) : text,
  interval ? [" ", el("span", { class: "interval" }, interval)] : null, mark ? strip(mark) : null];

const rowNode = (heads, cells) => el("tr", {}, cells.map((cell, i) => el(i ? "td" : "th", {
  scope: i ? null : "row", title: cell.title, class: heads[i].classList.contains("num") ? "num" : heads[i].classList.contains("plot-head") ? "plot" : null,
}, cellNodes(cell))));

let shownPair = FIRST_PAIR && pairName(FIRST_PAIR); // the pair whose rows are shown
function showPair() {
  const pair = chosenPair();
  if (!pair) return;
  if (PAIRS.length > 1) {
    const list = PAIRS.map((each) => [pairName(each), `${MODELS[each[0]]} and ${MODELS[each[1]]}`]);
    for (const place of choosers) if (place.dataset.pair !== pairName(pair)) place.replaceChildren(choice("pair", "Pair", list, place.dataset.pair = pairName(pair)));
  }
  if (shownPair !== pairName(pair)) {
    shownPair = pairName(pair);
    loadPairs().then((found) => {
      if (found && shownPair === pairName(pair)) for (const [name, rows] of Object.entries(found.rows)) showRows(name, rows[pair.join("-")] || []);
    });
  }
  drawScatters();
  drawCurves();
}

function showRows(name, rows) {
  const table = document.querySelector(`[aria-labelledby="${name}-title"] > table`);
  if (!table) return;
  const heads = [...table.tHead.rows[0].cells];
  for (const head of heads) head.removeAttribute("aria-sort");
  table.tBodies[0].replaceChildren(...rows.map((cells) => rowNode(heads, cells)));
}
