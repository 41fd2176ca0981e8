// One connection: closed, a line with its tightest quota and its day; open, all its meters and the plot.

import { element, name, place, setAttribute, setText, show } from "./dom.js";
import { counted, integer, percent } from "./format.js";
import { Bar, MeterRow, key, leftText, resetText, resetTitle, source, standing } from "./meter.js";
import { Bars, Plot, sentence } from "./plot.js";

// Meters of one connection at first: a policy may have one for each of thousands of partitions.
const FIRST_METERS = 8;
const RESETS = "resets ";
let last = 0;

/** What the list sorts and filters by. */
export function summary(connection, meters, usage) {
  let tightest = null;
  let urgency = -2;
  let urgent = false;
  for (const meter of meters) {
    const its = standing(meter);
    if (its.urgency > urgency) [tightest, urgency] = [meter, its.urgency];
    urgent ||= meter.suspended !== null || its.level === "out" || its.level === "critical";
  }
  const texts = [connection, ...meters.flatMap((meter) => [meter.provider, meter.policy, meter.partition, ...meter.consumers.map((user) => user.consumer)])];
  return { connection, meters, usage, tightest, urgency, urgent, calls: usage?.totals.calls ?? 0, text: [...new Set(texts)].join("\n").toLowerCase() };
}

export class Panel {
  #data = null;
  #range = null;
  #rows = new Map();
  #plot = null;
  #all = false;
  #clock = [0, 0];

  constructor(connection, toggle) {
    last += 1;
    const id = `connection-${last}`;
    this.button = element("button", { type: "button", class: "toggle", "aria-expanded": "false", "aria-controls": id, title: connection }, name(connection));
    this.provider = element("span", { class: "provider" });
    this.bar = new Bar();
    this.tight = element("span", { class: "tight" });
    this.share = element("span", { class: "share number" });
    this.left = element("span", { class: "left number" });
    this.source = element("span", { class: "source" });
    // The first word gives way where there is little room.
    this.word = element("span", { class: "word" });
    this.time = element("span");
    this.reset = element("span", { class: "reset number" }, this.word, this.time);
    this.spark = new Bars();
    this.calls = element("span", { class: "calls number" });
    this.head = element("div", { class: "head" }, element("h3", {}, this.button, this.provider),
      element("div", { class: "brief" }, this.tight, this.bar.node, this.share, this.left, this.source, this.reset), this.spark.node, this.calls);
    this.meters = element("ul", { class: "meters" });
    this.none = element("p", { class: "quiet-text" }, "No quota of this connection is known yet.");
    this.more = element("button", { type: "button", class: "show-more", hidden: true });
    this.side = element("div", { class: "side" });
    this.body = element("div", { class: "body", id, hidden: true }, element("div", { class: "main" }, this.meters, this.none, this.more), this.side);
    this.node = element("li", { class: "connection" }, this.head, this.body);
    this.head.addEventListener("click", (event) => {
      // A name that is being copied is no click.
      if (!String(getSelection()) || event.target.closest("button")) toggle();
    });
    this.more.addEventListener("click", () => {
      this.#all = true;
      this.#fill();
    });
  }

  get isOpen() {
    return !this.body.hidden;
  }

  open(open) {
    if (open === this.isOpen) return;
    setAttribute(this.button, "aria-expanded", String(open));
    setAttribute(this.node, "data-open", open);
    show(this.body, open);
    if (this.#data) this.#fill();
  }

  update(data, clock, range) {
    if (data === this.#data) return;
    this.#data = data;
    this.#clock = clock;
    this.#range = range;
    const provider = data.meters[0]?.provider ?? "";
    setText(this.provider, provider === data.connection ? "" : provider);
    setText(this.calls, range ? counted(data.calls, "call") : "");
    setAttribute(this.calls, "title", data.usage ? `Last 24 hours, ${sentence(data.usage.totals)}` : null);
    const { tightest } = data;
    setAttribute(this.node, "data-level", tightest ? standing(tightest).level : null);
    this.#fill();
  }

  #fill() {
    if (this.isOpen) this.#fillBody();
    else this.#fillBrief();
  }

  #fillBrief() {
    const { tightest, usage, connection } = this.#data;
    show(this.bar.node, tightest !== null);
    if (this.#range) this.spark.update(usage?.buckets ?? [], ...this.#range, `${connection}, last 24 hours, ${usage ? sentence(usage.totals) : "no calls"}`);
    setAttribute(this.spark.node, "aria-hidden", this.#range ? null : "true");
    if (!tightest) {
      setText(this.tight, "no quota known yet");
      for (const node of [this.share, this.left, this.source, this.word, this.time]) setText(node, "");
      return;
    }
    const { filled } = standing(tightest);
    this.bar.update(tightest, `${connection}: ${tightest.policy}`);
    setText(this.tight, tightest.policy);
    setAttribute(this.tight, "title", `${tightest.policy} ${tightest.partition}`.trim());
    setText(this.share, filled === null ? "?" : percent(filled));
    setText(this.left, leftText(tightest));
    const [, words, meaning] = source(tightest);
    setText(this.source, words);
    setAttribute(this.source, "title", meaning);
    setAttribute(this.reset, "title", resetTitle(tightest, this.#clock[1]));
    this.tick(performance.now());
  }

  #fillBody() {
    const { meters, usage, connection } = this.#data;
    const shown = this.#all ? meters : meters.slice(0, FIRST_METERS);
    const keys = new Set();
    const nodes = shown.map((meter) => {
      const its = key(meter);
      keys.add(its);
      let row = this.#rows.get(its);
      if (!row) {
        row = new MeterRow();
        this.#rows.set(its, row);
      }
      row.update(meter, ...this.#clock);
      return row.node;
    });
    for (const old of this.#rows.keys()) if (!keys.has(old)) this.#rows.delete(old);
    place(this.meters, nodes);
    show(this.none, meters.length === 0);
    show(this.more, shown.length < meters.length);
    setText(this.more, `Show ${integer(meters.length - shown.length)} more`);
    if (!this.#plot) {
      this.#plot = new Plot();
      this.side.append(this.#plot.node);
    }
    // Without history nothing is known, which is not the same as no calls.
    show(this.side, this.#range !== null);
    if (this.#range) this.#plot.update(usage, ...this.#range, connection);
  }

  /** What changes with time alone. True if a reset has passed, so that the server knows more. */
  tick(now) {
    if (!this.#data) return false;
    if (this.isOpen) {
      let passed = false;
      for (const row of this.#rows.values()) passed = row.tick(now) || passed;
      return passed;
    }
    const { tightest } = this.#data;
    if (!tightest) return false;
    const gone = (now - this.#clock[0]) / 1000;
    const suspended = tightest.suspended !== null && tightest.suspended > gone;
    setAttribute(this.reset, "data-level", suspended ? "out" : null);
    const text = suspended ? "suspended" : resetText(tightest, this.#clock[0], now);
    const word = text.startsWith(RESETS) ? RESETS : "";
    setText(this.word, word);
    setText(this.time, text.slice(word.length));
    return tightest.reset !== null && gone > tightest.reset;
  }
}
