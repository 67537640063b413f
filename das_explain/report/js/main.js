// Start: draw what the address asks for, and follow it when it changes.

controls.addEventListener("submit", (event) => event.preventDefault());

function start() {
  update();
  const asked = state.image === "" ? null : BY_INDEX.get(Number(state.image));
  if (asked) openViewer(asked);
}

window.addEventListener("hashchange", (event) => {
  const { hash } = new URL(event.newURL); // the address itself may have been rewritten since
  if (!hash.includes("=")) return;
  if (viewer.open) closeViewer();
  state = readState(hash);
  start();
});

if (window.DAS) start();
else document.getElementById("cards").replaceChildren(el("p", { class: "empty" }, "data.js is missing or broken: build the report again."));
document.documentElement.classList.add("scripted");
