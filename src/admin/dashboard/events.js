// The latest calls, newest first, as they come.

import { byId, element, name, place, setAttribute, setText, show } from "./dom.js";
import { bytes, counted, dateAndTime, integer, milliseconds, timeOfDay, utc } from "./format.js";

// In the table; and kept, so that a filter finds more than what is just passing by.
const SHOWN = 100;
const KEPT = 1000;
// A busy gateway makes more calls than anyone can read: between two drawings the page rests, longer after many new calls.
const REST = 100;
const LONG_REST = 700;
const MANY = 10;

const KINDS = {
  all: () => true,
  failed: (call) => call.refused_by === null && (call.status === null || call.status >= 400 || call.outcome !== "complete"),
  refused: (call) => call.refused_by !== null,
  waited: (call) => call.waited_ms > 0,
};

const ENDINGS = { broken: "answer broke off", left: "caller left" };

export class Events {
  #calls = [];
  #known = new Set();
  #rows = new Map();
  #words = [];
  #paused = false;
  #fresh = 0;
  #timer = 0;
  #rest = 0;
  #added = 0;
  #loaded = false;

  constructor(schedule) {
    this.schedule = schedule;
    this.body = byId("calls");
    this.pause = byId("pause");
    byId("outcome").addEventListener("change", () => schedule());
    this.pause.addEventListener("click", () => {
      this.#paused = !this.#paused;
      setAttribute(this.pause, "aria-pressed", String(this.#paused));
      this.#fresh = 0;
      this.#label();
      schedule();
    });
  }

  get size() {
    return this.#calls.length;
  }

  /** One call that has just ended. */
  add(call) {
    if (!this.#keep(call)) return;
    if (this.#paused) {
      this.#fresh += 1;
      this.#label();
    } else {
      this.#added += 1;
      this.#timer ||= setTimeout(() => {
        this.#timer = 0;
        this.#rest = this.#added > MANY ? LONG_REST : REST;
        this.#added = 0;
        this.schedule();
      }, this.#rest);
    }
  }

  /** Calls that were stored, in any order. */
  merge(calls) {
    this.#loaded = true;
    for (const call of calls) this.#keep(call);
    this.schedule();
  }

  #keep(call) {
    const its = identity(call);
    if (this.#known.has(its)) return false;
    this.#known.add(its);
    const at = this.#calls.findIndex((other) => compare(call, other) < 0);
    this.#calls.splice(at < 0 ? this.#calls.length : at, 0, call);
    for (const old of this.#calls.splice(KEPT)) this.#known.delete(identity(old));
    return true;
  }

  filter(words) {
    this.#words = words;
    this.schedule();
  }

  #label() {
    setText(this.pause, !this.#paused ? "Pause" : this.#fresh ? `Resume (${integer(this.#fresh)} new)` : "Resume");
  }

  *render() {
    if (this.#paused && this.body.children.length && this.signature === this.#choice()) return;
    this.signature = this.#choice();
    const fits = KINDS[byId("outcome").value];
    const shown = [];
    let fitting = 0;
    for (const call of this.#calls) {
      if (!fits(call) || !this.#fitsWords(call)) continue;
      fitting += 1;
      if (shown.length < SHOWN) shown.push(call);
    }
    const rows = new Map(shown.map((call) => [identity(call), this.#rows.get(identity(call)) ?? row(call)]));
    this.#rows = rows;
    place(this.body, [...rows.values()]);
    setText(byId("events-count"), shown.length < fitting ? `latest ${integer(shown.length)}` : shown.length ? integer(shown.length) : "");
    show(byId("no-calls"), this.#loaded && shown.length === 0);
    setText(byId("no-calls"), this.#calls.length ? "None of the latest calls fits the filter." : "No calls yet. They appear here as they end.");
  }

  #choice() {
    return `${byId("outcome").value} ${this.#words.join(" ")}`;
  }

  #fitsWords(call) {
    if (!this.#words.length) return true;
    const text = [call.connection, call.provider, call.consumer, call.method, call.endpoint, call.status, call.refused_by, call.policy, ...call.costs.map((cost) => cost.policy)].join("\n").toLowerCase();
    return this.#words.every((word) => text.includes(word));
  }
}

/** Without a store, numbers begin anew with the server. */
const identity = (call) => `${call.id} ${call.at}`;

/** The newest first. */
const compare = (a, b) => Date.parse(b.at) - Date.parse(a.at) || b.id - a.id;

function cell(label, attributes, ...children) {
  return element("td", { role: "cell", "data-label": label, ...attributes }, ...children);
}

/** Events do not change: a row is made once. */
function row(call) {
  const date = new Date(call.at);
  const time = element("time", { datetime: call.at, title: `${dateAndTime(date)} (${utc(date)})` }, timeOfDay(date));
  const { words, level, title } = answer(call);
  const costs = call.costs.map((cost) => `${cost.policy} ${integer(cost.cost)}`);
  const took = `${milliseconds(call.duration_ms)} in all, ${milliseconds(call.upstream_ms)} of it at the provider; ${bytes(call.bytes_in)} in, ${bytes(call.bytes_out)} out`;
  return element("tr", { role: "row", "data-level": level },
    cell("Time", { class: "time" }, time),
    cell("Connection", { title: `${call.connection} (${call.provider})` }, name(call.connection)),
    cell("Consumer", { title: call.consumer }, name(call.consumer)),
    cell("Call", { class: "call", title: `${call.method} ${call.endpoint}` }, element("b", {}, call.method), " ", name(call.endpoint)),
    cell("Status", { class: "status", title }, words),
    cell("Cost", { class: "cost", title: call.costs.map((cost) => `${counted(cost.cost, cost.unit, cost.unit)} of ${cost.policy}`).join(", ") }, costs.join(", ")),
    cell("Waited", { class: "number" }, call.waited_ms ? milliseconds(call.waited_ms) : ""),
    cell("Took", { class: "number", title: took }, milliseconds(call.duration_ms)));
}

/** What became of a call: in words, not only in colour. */
function answer(call) {
  const native = call.upstream_status !== null && call.upstream_status !== call.status ? `, the provider’s was ${call.upstream_status}` : "";
  const policy = call.policy ? ` (${call.policy})` : "";
  if (call.refused_by) {
    const who = call.refused_by === "headroom" ? "headroom" : "the provider";
    const words = `${native ? `${call.upstream_status} → ` : ""}${call.status ?? ""} ${call.refused_by === "headroom" ? "by headroom" : "by provider"}`;
    return { words, level: call.refused_by === "headroom" ? "refused" : "exhausted", title: `Refused by ${who}${policy}: status ${call.status ?? "unknown"}${native}` };
  }
  const ending = ENDINGS[call.outcome];
  if (call.status === null) return { words: ending ?? "no answer", level: "unanswered", title: "The caller left before an answer" };
  const words = ending ? `${call.status}, ${ending}` : String(call.status);
  return { words, level: call.status >= 400 || call.outcome === "broken" ? "failed" : null, title: `Status ${call.status}${native}` };
}
