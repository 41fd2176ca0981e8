// The dashboard: what is read, when, and which part of the page shows it.
//
// Quotas, usage and advice are read as JSON, the same that programs read. The stream of events says when to read again. Each
// part keeps its own data and redraws itself in place; the scheduler gives all of them together a few milliseconds a frame.

import { Advice } from "./advice.js";
import { byId, element, place, setAttribute, setText, show } from "./dom.js";
import { Events } from "./events.js";
import { ZONE, integer } from "./format.js";
import { Health } from "./health.js";
import { Live } from "./live.js";
import { recall, remember } from "./memory.js";
import { Poll, read } from "./poll.js";
import { Quotas } from "./quotas.js";
import { Week } from "./week.js";

const BUDGET = 24;
const SECOND = 1000;

/** Work that waits for a frame, by who does it; started again when its data has changed in the meantime. */
const work = new Map();
let frame = 0;

function schedule(part) {
  work.set(part, null);
  frame ||= requestAnimationFrame(draw);
}

function draw() {
  frame = 0;
  const until = performance.now() + BUDGET;
  for (const [part, begun] of work) {
    const drawing = begun ?? part.render();
    work.set(part, drawing);
    let done = false;
    while (!done && performance.now() < until) done = drawing.next().done;
    if (work.get(part) === drawing) work.delete(part);
    if (!done) {
      // The others come first in the next frame.
      if (!work.has(part)) work.set(part, drawing);
      break;
    }
  }
  if (work.size) frame = requestAnimationFrame(draw);
}

const known = { quota: false, usage: false, events: false };
let day = null;
const parts = {};
const redraw = (name) => () => schedule(parts[name]);
parts.health = new Health(redraw("health"));
parts.quotas = new Quotas(redraw("quotas"));
parts.events = new Events(redraw("events"));
parts.advice = new Advice(redraw("advice"));
parts.week = new Week(redraw("week"), () => polls.week.restart());
parts.summary = { render: summary };
const { health, quotas, events, advice, week } = parts;

/** How a page that cannot be read is told. */
const trouble = (check, what) => (error) => health.set(check, "bad", `${what} cannot be read: ${error.message}`);

const polls = {
  quota: new Poll({
    url: () => "quota",
    least: SECOND,
    most: 15 * SECOND,
    good: (report) => {
      quotas.setReport(report);
      known.quota = true;
      health.set("Quotas", "good", `${integer(report.total)} ${report.total === 1 ? "meter" : "meters"}`);
      arrived();
    },
    bad: trouble("Quotas", "Quotas"),
  }),
  day: new Poll({
    url: () => "usage?by=connection,hour&last=24h",
    least: 2 * SECOND,
    most: 60 * SECOND,
    good: (usage) => {
      quotas.setUsage(usage);
      day = usage;
      known.usage = true;
      health.set("History", "good", "up to date");
      arrived();
    },
    bad: trouble("History", "Usage history"),
  }),
  week: new Poll({
    url: () => week.url,
    least: 5 * SECOND,
    most: 60 * SECOND,
    good: (usage) => {
      week.setUsage(usage);
      health.set("Last 7 days", "good", "up to date");
    },
    bad: trouble("Last 7 days", "Usage history"),
  }),
  advice: new Poll({
    url: () => "advice?last=24h",
    least: 30 * SECOND,
    most: 120 * SECOND,
    good: (answer) => {
      advice.set(answer);
      health.set("Advice", "good", "up to date");
    },
    bad: trouble("Advice", "Advice"),
  }),
  ready: new Poll({
    url: () => "readyz",
    as: "text",
    least: 5 * SECOND,
    most: 15 * SECOND,
    good: (text) => health.setReadiness(text),
    bad: (error) => health.set("Gateway", "bad", `does not answer: ${error.message}`),
  }),
};

/** What both pages and the stream have told together. */
function arrived() {
  schedule(parts.summary);
  week.setConnections(quotas.names);
}

function* summary() {
  const empty = known.quota && known.events && quotas.size === 0 && events.size === 0;
  show(byId("start"), empty);
  document.body.classList.toggle("empty", empty);
  const totals = day?.totals;
  show(byId("summary"), Boolean(totals?.calls));
  if (!totals) return;
  const facts = [
    ["calls in 24 hours", totals.calls],
    ["failed", totals.failed],
    ["refused by headroom", totals.refused],
    ["refused by providers", totals.exhausted],
    ["waited", totals.waited],
    ["not answered", totals.unanswered],
  ];
  const box = byId("summary");
  for (const [index, [label, number]] of facts.entries()) {
    const fact = box.children[index] ?? box.appendChild(element("div", {}, element("dt", {}, label), element("dd", { class: "number" })));
    setText(fact.lastElementChild, integer(number ?? 0));
    setAttribute(fact, "data-zero", !number);
  }
}

// The stream.

let due = 0;
let state = "connecting";
const live = new Live({
  call: (call) => {
    events.add(call);
    known.events = true;
    // Each no faster than it may; the first call after a rest is seen at once.
    polls.quota.ask();
    polls.day.ask();
    polls.week.ask();
    if (document.body.classList.contains("empty")) schedule(parts.summary);
  },
  meters: () => polls.quota.ask(),
  warning: (warning) => health.warn(warning),
  state: (now, next) => {
    const broke = state === "live" && now === "waiting";
    state = now;
    due = next ?? 0;
    if (now === "live") {
      health.set("Live events", "good", "connected");
      catchUp();
    } else if (broke) {
      health.set("Live events", "bad", "The connection was lost; what is shown may be old.");
    }
    told();
  },
});

const STATES = { connecting: "Connecting", live: "Live", paused: "Paused" };

function told() {
  setAttribute(byId("live"), "data-state", state);
  const seconds = Math.max(0, Math.ceil((due - Date.now()) / SECOND));
  setText(byId("live-text"), STATES[state] ?? `Not connected, next try in ${seconds} s`);
  show(byId("live-retry"), state === "waiting");
}

/** What was missed while there was no stream. */
async function catchUp() {
  for (const poll of Object.values(polls)) poll.ask();
  try {
    events.merge((await read("events?limit=100")).events);
    known.events = true;
    health.set("Stored events", "good", "up to date");
  } catch (error) {
    trouble("Stored events", "Stored events")(error);
    // A page without stored events is not a page without calls, but live ones may come all the same.
    events.merge([]);
  }
  schedule(parts.summary);
}

// The page itself.

function wire() {
  setText(byId("zone"), ZONE === "UTC" ? "Times are in UTC." : `Times are in ${ZONE}; hover for UTC.`);
  byId("live-retry").addEventListener("click", () => live.open());
  const filter = byId("filter");
  const search = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const part of [quotas, events, week, advice]) part.filter(words);
  };
  filter.addEventListener("input", search);
  // A browser that comes back to the page may have kept what stood there.
  if (filter.value) search();
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, textarea");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      filter.focus();
    } else if (event.key === "Escape" && event.target === filter && filter.value) {
      filter.value = "";
      search();
    }
  });
  for (const section of document.querySelectorAll("[data-section]")) fold(section);
  example();
}

/** A section closes by its heading, and stays closed. */
function fold(section) {
  const heading = section.querySelector("h2");
  const content = section.querySelector(".content");
  const tools = section.querySelector(".tools");
  content.id = `${section.id}-content`;
  const button = element("button", { type: "button", class: "toggle", "aria-controls": content.id }, ...heading.childNodes);
  place(heading, [button]);
  const set = (open) => {
    setAttribute(button, "aria-expanded", String(open));
    show(content, open);
    if (tools) show(tools, open);
    remember(`section.${section.id}`, open);
  };
  set(recall(`section.${section.id}`, true));
  button.addEventListener("click", () => set(content.hidden));
}

function example() {
  const names = quotas.mounted.map((mount) => mount.name);
  const connection = names.includes("github") ? "github" : names[0];
  const base = new URL("..", location.href).href;
  const path = connection === "github" ? "zen" : "";
  const command = `curl -i ${base}${connection ?? "CONNECTION"}/${path}`;
  setText(byId("example"), command);
  const copy = byId("copy");
  show(copy, Boolean(navigator.clipboard));
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(command);
      setText(copy, "Copied");
    } catch {
      setText(copy, "Not allowed");
    }
    setTimeout(() => setText(copy, "Copy"), 2 * SECOND);
  });
}

wire();
let asked = 0;
setInterval(() => {
  // Behind a reset the server knows more; windows of a second are no reason to ask each second.
  if (quotas.tick() && performance.now() - asked > 5 * SECOND) {
    asked = performance.now();
    polls.quota.ask();
  }
  if (state === "waiting") told();
}, SECOND);
for (const poll of Object.values(polls)) poll.ask();
live.open();
