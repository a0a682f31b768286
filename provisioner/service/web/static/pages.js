// Updates the pages live; every page works without it. The server renders everything: a live part
// is fetched again and replaces the old one, so no markup is written twice.
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

function offerCopying(root) {
  for (const box of root.querySelectorAll(".copyable")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "plain";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(box.querySelector("pre").textContent);
      button.textContent = "Copied";
    });
    box.append(button);
  }
}

// Counts from when the part arrived, by a clock that nobody can set.
let arrived = performance.now();

function tick() {
  const passed = (performance.now() - arrived) / 1000;
  for (const place of document.querySelectorAll("[data-remaining]")) {
    place.textContent = duration(place.dataset.remaining - passed);
  }
  for (const place of document.querySelectorAll("[data-since]")) {
    place.textContent = duration(Number(place.dataset.since) + passed);
  }
}

// Answers may arrive out of order: the one requested last wins.
let asked = 0;
let shown = 0;

async function renew() {
  if (document.querySelector("[data-live]") === null || document.hidden) return;
  const number = ++asked;
  const answer = await fetch(location.href, { credentials: "same-origin" }).catch(() => null);
  if (answer === null || !answer.ok || answer.redirected) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.querySelector("main");
  const old = document.querySelector("[data-live]");
  if (fresh === null || old === null || number < shown) return;
  shown = number;
  if (old.querySelector("details[open] form") !== null) return; // the visitor is about to confirm
  const part = fresh.querySelector("[data-live]");
  if (part === null) {
    document.querySelector("main").replaceWith(fresh);
  } else {
    old.replaceWith(part);
  }
  arrived = performance.now();
  offerCopying(part ?? fresh);
}

function follow(live) {
  if (live.dataset.events) {
    const events = new EventSource(live.dataset.events);
    // The first event too: something may have happened between the page and the stream.
    events.addEventListener("reservation", async () => {
      await renew();
      if (document.querySelector("[data-live]") === null) events.close();
    });
    events.addEventListener("error", () => {
      if (events.readyState === EventSource.CLOSED) setTimeout(renew, RETRY_MS);
    });
  }
  if (live.dataset.refresh) {
    const seconds = Number(live.dataset.refresh);
    const again = () => setTimeout(async () => { await renew(); again(); }, seconds * 1000);
    again();
  }
}

offerCopying(document);
setInterval(tick, 1000);
const live = document.querySelector("[data-live]");
if (live !== null) follow(live);
