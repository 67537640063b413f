// Tables: copied as Markdown, LaTeX or CSV; sorted by a click on a heading.

// What a table says, row by row; columns that only draw are left out. A name that was cut is whole in its title.
function linesOf(table) {
  const drawn = new Set([...table.tHead.rows[0].cells].flatMap((cell, i) => (cell.classList.contains("plot-head") ? [i] : [])));
  const said = (cell) => (cell.title || cell.textContent).replace(/\s+/g, " ").trim();
  return [...table.tHead.rows, ...[...table.tBodies].flatMap((body) => [...body.rows])]
    .map((row) => [...row.cells].filter((_, i) => !drawn.has(i)).map(said));
}

const LATEX = { "\\": "\\textbackslash{}", "&": "\\&", "%": "\\%", "$": "\\$", "#": "\\#", "_": "\\_", "{": "\\{", "}": "\\}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "$<$", ">": "$>$", [MINUS]: "$-$", "–": "--" };
const COPIES = {
  Markdown: (table) => {
    const numeric = [...table.tHead.rows[0].cells].filter((cell) => !cell.classList.contains("plot-head")).map((cell) => cell.classList.contains("num"));
    const line = (cells) => `| ${cells.map((cell) => cell.replace(/[\\|<>*_`]/g, "\\$&")).join(" | ")} |`;
    const [head, ...rows] = linesOf(table);
    return [line(head), `|${numeric.map((yes) => (yes ? " --: " : " --- ")).join("|")}|`, ...rows.map(line), ""].join("\n");
  },
  LaTeX: (table) => {
    const numeric = [...table.tHead.rows[0].cells].filter((cell) => !cell.classList.contains("plot-head")).map((cell) => cell.classList.contains("num"));
    const line = (cells) => `${cells.map((cell) => cell.replace(/[\\&%$#_{}~^<>\u2212–]/g, (sign) => LATEX[sign])).join(" & ")} \\\\`;
    const [head, ...rows] = linesOf(table);
    return [`\\begin{tabular}{${numeric.map((yes) => (yes ? "r" : "l")).join("")}}`, "\\toprule", line(head), "\\midrule", ...rows.map(line), "\\bottomrule", "\\end{tabular}", ""].join("\n");
  },
  CSV: (table) => linesOf(table).map((cells) => cells.map((cell) => {
    const text = cell.replaceAll(MINUS, "-").replace(/^–$/, "").replace(/^[=@]/, "'$&"); // no formula for a spreadsheet
    return /[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }).join(",")).join("\n") + "\n",
};

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // not allowed here: the old way
    const area = el("textarea", { class: "hidden" });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
  return true;
}

function offerCopies(table) {
  const told = el("span", { role: "status" });
  const name = document.getElementById(table.parentElement.getAttribute("aria-labelledby"))?.textContent || table.parentElement.getAttribute("aria-label");
  const buttons = Object.entries(COPIES).map(([kind, write]) => el("button", {
    type: "button", class: "plain", "aria-label": `Copy the table “${name}” as ${kind}`,
    onclick: async () => { told.textContent = (await copy(write(table))) ? `copied as ${kind}` : "the browser does not allow to copy"; },
  }, kind));
  table.parentElement.after(el("div", { class: "copies" }, told, el("span", { "aria-hidden": "true" }, "Copy as"), buttons));
}

// Numbers by size, words by letter; what is missing comes last.
function sortable(table) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    if (head.classList.contains("plot-head")) return;
    const button = el("button", { type: "button", class: "plain", onclick: () => sortBy(column) });
    button.append(...head.childNodes);
    head.append(button);
  });
  function sortBy(column) {
    const down = heads[column].getAttribute("aria-sort") === "ascending" || (heads[column].classList.contains("num") && !heads[column].hasAttribute("aria-sort"));
    const numeric = heads[column].classList.contains("num");
    const value = (row) => {
      const text = row.cells[column].textContent.trim();
      return numeric ? parseFloat(text.replace(MINUS, "-").replaceAll(",", "")) : text;
    };
    const rows = [...body.rows].map((row, i) => ({ row, i, value: value(row) }));
    rows.sort((a, b) => {
      if (numeric && (Number.isNaN(a.value) || Number.isNaN(b.value))) return Number.isNaN(a.value) - Number.isNaN(b.value) || a.i - b.i;
      const order = numeric ? a.value - b.value : a.value.localeCompare(b.value, "en", { numeric: true });
      return (down ? -order : order) || a.i - b.i;
    });
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
    body.replaceChildren(...rows.map(({ row }) => row));
  }
}

for (const table of document.querySelectorAll("main table")) offerCopies(table);
for (const table of document.querySelectorAll("table.sortable")) sortable(table);
