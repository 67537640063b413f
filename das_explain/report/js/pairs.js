// The chosen pair of models, outside of the gallery: rows of tables and charts that compare two models show that pair.

const choosers = [...document.querySelectorAll(".pair-choice")];
const pairRows = [...document.querySelectorAll("tr[data-pair]")];
let rowsOf = null; // the pair whose rows are shown

function showPair() {
  const pair = chosenPair();
  if (pair && PAIRS.length > 1 && rowsOf !== pairName(pair)) {
    rowsOf = pairName(pair);
    const list = PAIRS.map((each) => [pairName(each), `${MODELS[each[0]]} and ${MODELS[each[1]]}`]);
    for (const place of choosers) place.replaceChildren(choice("pair", "Pair", list, rowsOf));
    for (const row of pairRows) row.hidden = row.dataset.pair !== pair.join("-");
  }
  drawScatters();
  drawCurves();
}
