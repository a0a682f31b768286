// Updates the pages live; every page works without it. The server renders everything: the page is
// fetched again and what differs is changed in place (idiomorph), so no markup is written twice,
// and focus, selection, opened details, scrolling and typed input stay with their reader.
"use strict";

const RETRY_MS = 3000;

function duration(seconds) {
  let rest = Math.max(0, Math.round(seconds));
  const parts = [];
  for (const [unit, length] of [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]]) {
    const count = Math.floor(rest / length);
    rest -= count * length;
    if (count > 0) parts.push(`${count} ${unit}`);
  }
  return parts.slice(0, 2).join(" ") || "0 s";
}

// Browsers offer the clipboard to https pages only; elsewhere the selected text is copied.
async function copy(button) {
  const text = button.parentElement.querySelector("pre");
  getSelection().selectAllChildren(text);
  const copied = navigator.clipboard
    ? await navigator.clipboard.writeText(text.textContent).then(() => true, () => false)
    : document.execCommand("copy");
  button.textContent = copied ? "Copied" : "Selected: press Ctrl+C";
}

function offerCopying(root) {
  for (const box of root.querySelectorAll(".copyable")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "plain";
    button.textContent = "Copy";
    box.append(button);
  }
}

function isSelected(node) {
  const selection = getSelection();
  return !selection.isCollapsed && selection.containsNode(node, true);
}

// Counts from when the page arrived, by a clock that nobody can set.
let arrived = performance.now();

function tick() {
  const passed = (performance.now() - arrived) / 1000;
  for (const place of document.querySelectorAll("[data-remaining], [data-since]")) {
    const { remaining, since } = place.dataset;
    if (isSelected(place)) continue;
    place.textContent = duration(since === undefined ? remaining - passed : Number(since) + passed);
  }
}

// Whether somebody has typed or chosen something in it.
function isChanged(control) {
  if (control.type === "hidden") return false;
  if (control.options) return [...control.options].some((o) => o.selected !== o.defaultSelected);
  return control.value !== control.defaultValue || control.checked !== control.defaultChecked;
}

const MORPHING = {
  ignoreActiveValue: true,
  callbacks: {
    beforeNodeMorphed(old) {
      if (old.nodeType === Node.TEXT_NODE) return !isSelected(old);
      return !old.matches?.("input, textarea, select") || !isChanged(old);
    },
    beforeNodeRemoved(old) {
      return ![...(old.querySelectorAll?.("input, textarea, select") ?? [])].some(isChanged);
    },
    // The reader opens and closes; the page says only how it begins.
    beforeAttributeUpdated: (name, node) => name !== "open" || node.localName !== "details",
  },
};

const atEnd = (log) => log.scrollTop + log.clientHeight >= log.scrollHeight - 4;

function toEnd(logs) {
  for (const log of logs) log.scrollTop = log.scrollHeight;
}

function show(fresh) {
  const followed = [...document.querySelectorAll(".log")].filter(atEnd);
  offerCopying(fresh);
  Idiomorph.morph(document.querySelector("main"), fresh, MORPHING);
  toEnd(followed);
  arrived = performance.now();
}

const live = () => document.querySelector("[data-live]");

// Answers may arrive out of order: the one requested last wins.
let asked = 0;
let shown = 0;
let timer = 0;

async function renew() {
  if (live() === null) return;
  const number = ++asked;
  const answer = document.hidden
    ? null
    : await fetch(location.href, { credentials: "same-origin" }).catch(() => null);
  if (answer?.ok && !answer.redirected) {
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.querySelector("main");
    if (fresh !== null && number > shown) {
      shown = number;
      show(fresh);
    }
  }
  renewLater();
}

function renewLater() {
  clearTimeout(timer);
  const seconds = Number(live()?.dataset.refresh);
  if (seconds) timer = setTimeout(renew, seconds * 1000);
}

function follow(address) {
  const events = new EventSource(address);
  // The first event too: something may have happened between the page and the stream.
  events.addEventListener("reservation", async () => {
    await renew();
    if (live()?.dataset.events === undefined) events.close();
  });
  events.addEventListener("error", () => {
    if (events.readyState === EventSource.CLOSED) setTimeout(renew, RETRY_MS);
  });
}

document.addEventListener("click", (event) => {
  if (event.target.matches(".copyable button")) copy(event.target);
});
document.addEventListener("change", (event) => {
  if (!event.target.matches("[data-all]")) return;
  for (const box of document.querySelectorAll('input[name="server"]')) box.checked = event.target.checked;
});
document.addEventListener("visibilitychange", () => document.hidden || renew());
offerCopying(document);
toEnd(document.querySelectorAll(".log"));
setInterval(tick, 1000);
if (live()?.dataset.events) follow(live().dataset.events);
renewLater();
