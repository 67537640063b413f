// One image, large: the photo, every model's maps, and the numbers behind each score.

const viewer = document.getElementById("viewer");
let opener = null;

function numbers(image, models, blocks) {
  const rows = models.flatMap((model) => blocks.map((block) => ({ model, block, cell: shownCell(image, model, block) })).filter(({ cell }) => cell));
  if (!rows.length) return null;
  const heads = ["Model", "Block", "sfd", "Status", "W_r", "W_n", "B (x0, y0, x1, y1)", "R of frame", "cam_max", "Explained"];
  const numeric = new Set([2, 4, 5, 6, 7, 8]);
  return el("div", { class: "scroll numbers", role: "region", "aria-label": "Numbers", tabindex: 0 }, el("table", { class: "slim" },
    el("thead", {}, el("tr", {}, heads.map((head, i) => el("th", { scope: "col", class: numeric.has(i) ? "num" : null }, head)))),
    el("tbody", {}, rows.map(({ model, block, cell }) => el("tr", {},
      [key(model), BLOCKS[block], el("b", {}, fixed(cell.sfd, 3)), el("code", {}, cell.status), digits(cell.w_r), digits(cell.w_n),
        cell.box ? [cell.box.x0, cell.box.y0, cell.box.x1, cell.box.y1].join(", ") : "–", percent(image.models[model].r_area) || "–", digits(cell.cam_max), image.models[model].target || "–",
      ].map((value, i) => el(i ? "td" : "th", { scope: i ? null : "row", class: numeric.has(i) ? "num" : null }, value)))))));
}

function step(by) {
  const at = chosen.findIndex((image) => String(image.index) === state.image);
  const next = chosen[at + by];
  if (next) openViewer(next);
}

function openViewer(image) {
  if (!viewer.open) opener = document.activeElement;
  const models = shownModels().filter((model) => image.models[model]), blocks = shownBlocks(), pair = chosenPair();
  const at = chosen.indexOf(image);
  const button = (name, text, label, by) => el("button", { type: "button", class: "plain", name, disabled: at < 0 || !chosen[at + by], "aria-label": label, onclick: () => step(by) }, text);
  const focused = viewer.contains(document.activeElement) ? document.activeElement.name : null;
  forget(viewer);
  viewer.replaceChildren(
    el("header", {},
      el("div", {}, el("h2", { id: "viewer-title" }, image.name),
        el("p", { class: "facts" }, image.label === null ? null : el("span", { class: "label" }, image.label),
          image.status === "ok" ? null : el("span", { class: "flag" }, statusWords(image.status)),
          image.message ? el("span", { class: "message" }, image.message) : null)),
      heatSlider(),
      el("span", { class: "pages" }, button("previous", "‹", "Previous image", -1), button("next", "›", "Next image", 1)),
      el("button", { type: "button", class: "plain", name: "close", "aria-label": "Close", onclick: closeViewer }, "✕")),
    el("div", { class: "viewer-body" },
      el("div", { class: "photo" },
        el("figure", { class: "tile" }, photo(image, models, 2), el("figcaption", {}, "as the network saw it")),
        found(image),
        pair && pair.every((model) => models.includes(model)) ? differences(image, pair, blocks) : null),
      models.length && blocks.length ? el("div", { class: "models" }, models.map((model) => modelRow(image, model, blocks, 2))) : null),
    ...[numbers(image, models, blocks)].filter(Boolean));
  viewer.style.setProperty("--blocks", Math.max(1, blocks.length));
  viewer.style.setProperty("--blocks-wide", `${Math.max(1, blocks.length)}fr`);
  if (!viewer.open) viewer.showModal();
  viewer.scrollTop = 0;
  const wanted = focused && viewer.querySelector(`button[name="${focused}"]:not(:disabled)`);
  (wanted || viewer.querySelector("button[name=close]")).focus();
  for (const canvas of viewer.querySelectorAll("canvas")) paintNow(canvas);
  state.image = String(image.index);
  writeState();
}

// Focus returns to the card of the image last seen, or to the chart that it was opened from.
function closeViewer() {
  viewer.close();
  if (state.image === "") return;
  const seen = cards.querySelector(`.card[data-index="${Number(state.image)}"] .open`);
  forget(viewer);
  viewer.replaceChildren();
  state.image = "";
  writeState();
  const fromChart = opener && opener.closest(".scatter") && document.contains(opener);
  const back = fromChart ? opener : seen || opener;
  if (back) back.focus();
}

// The browser closes it for the Escape key; the event comes late, perhaps after the next image was opened.
viewer.addEventListener("close", () => { if (!viewer.open) closeViewer(); });
viewer.addEventListener("click", (event) => { if (event.target === viewer) closeViewer(); });
viewer.addEventListener("keydown", (event) => {
  if (event.target.matches("input, .scroll")) return;
  if (event.key === "ArrowLeft") step(-1);
  else if (event.key === "ArrowRight") step(1);
});
