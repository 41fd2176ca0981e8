// Calls over time, as stacked bars; the same numbers as a table for whoever wants or needs them.

import { drawing, element, place, setAttribute, setText } from "./dom.js";
import { counted, dateAndTime, hourAndMinute, integer, utc } from "./format.js";

const HOUR = 3_600_000;
const HEIGHT = 100;
// Marks of the time axis, in local hours.
const MARKS = 6;

/** What a bar is made of, from below: the key of a usage row, its class, its words. */
export const SERIES = [
  ["ok", "answered"],
  ["failed", "failed"],
  ["refused", "refused by headroom"],
  ["exhausted", "refused by the provider"],
  ["unanswered", "not answered"],
];

/** Rows of `by=…,hour` as buckets in time, oldest first; the first and the last are cut by the range. */
export function buckets(rows, from, to) {
  const list = [];
  for (const row of rows) {
    const start = Date.parse(row.hour);
    if (Number.isNaN(start)) continue;
    list.push({ start: Math.max(start, from), end: Math.min(start + HOUR, to), row });
  }
  return list.sort((a, b) => a.start - b.start);
}

/** 1,204 calls: 1,180 answered, 24 failed */
export function sentence(row) {
  const parts = SERIES.filter(([key]) => row[key] > 0).map(([key, words]) => `${integer(row[key])} ${words}`);
  return parts.length ? `${counted(row.calls, "call")}: ${parts.join(", ")}` : counted(row.calls, "call");
}

/** Only the bars. */
export class Bars {
  #signature = "";

  constructor() {
    this.paths = SERIES.map(([key]) => drawing("path", { class: key }));
    this.cursor = drawing("rect", { class: "cursor", y: 0, height: HEIGHT, width: 0 });
    this.node = drawing("svg", { class: "bars", preserveAspectRatio: "none", role: "img" }, this.cursor, ...this.paths);
  }

  /** Draws buckets between two moments; gives the highest. */
  update(list, from, to, label) {
    const most = list.reduce((highest, { row }) => Math.max(highest, row.calls), 0);
    setAttribute(this.node, "aria-label", label);
    // In minutes: a path of milliseconds is long, and short numbers are exact enough for a screen.
    const minute = (moment) => Math.round((moment - from) / 60_000);
    const span = Math.max(1, minute(to));
    setAttribute(this.node, "viewBox", `0 0 ${span} ${HEIGHT}`);
    const signature = `${from} ${to} ${list.map(({ row }) => SERIES.map(([key]) => row[key]).join()).join(" ")}`;
    if (signature === this.#signature) return most;
    this.#signature = signature;
    const gap = span / 240;
    const shapes = SERIES.map(() => "");
    for (const { start, end, row } of list) {
      const [left, right] = [minute(start), minute(end)];
      const wide = Math.max(1, right - left - gap);
      let base = HEIGHT;
      for (const [index, [key]] of SERIES.entries()) {
        if (!row[key]) continue;
        // What is there is seen: one refusal among thousands of calls is what one looks for.
        const high = Math.max(2, (row[key] / most) * HEIGHT);
        base = Math.max(0, base - high);
        shapes[index] += `M${left} ${base.toFixed(1)}h${wide.toFixed(1)}v${high.toFixed(1)}h-${wide.toFixed(1)}z`;
      }
    }
    for (const [index, path] of this.paths.entries()) setAttribute(path, "d", shapes[index]);
    return most;
  }

  /** Marks one bucket, or none. */
  point(bucket, from) {
    setAttribute(this.cursor, "x", bucket ? (bucket.start - from) / 60_000 : 0);
    setAttribute(this.cursor, "width", bucket ? (bucket.end - bucket.start) / 60_000 : 0);
  }
}

/** Bars with axes, words and the table. */
export class Plot {
  #list = [];
  #range = [0, 0];
  #caption = "";

  constructor() {
    this.bars = new Bars();
    this.most = element("span", { class: "most" });
    this.marks = element("div", { class: "marks", "aria-hidden": "true" });
    this.caption = element("figcaption");
    this.table = element("tbody");
    this.details = element("details", { class: "numbers" }, element("summary", {}, "Numbers by hour"),
      element("div", { class: "scroller", role: "region", "aria-label": "Numbers by hour", tabindex: "0" },
        element("table", {}, element("thead", {}, element("tr", {}, ...["From", "Calls", ...SERIES.map(([, words]) => words)].map((text) => element("th", { scope: "col" }, text)))), this.table)));
    this.area = element("div", { class: "area" }, this.bars.node, this.most);
    this.node = element("figure", { class: "plot" }, this.caption, this.area, this.marks, this.details);
    this.area.addEventListener("pointermove", (event) => this.#point(event));
    this.area.addEventListener("pointerleave", () => this.#unpoint());
    this.details.addEventListener("toggle", () => this.#fillTable());
  }

  update(usage, from, to, label) {
    this.#list = usage?.buckets ?? [];
    this.#range = [from, to];
    this.#caption = usage ? `Last 24 hours, ${sentence(usage.totals)}` : "Last 24 hours, no calls";
    setText(this.caption, this.#caption);
    const most = this.bars.update(this.#list, from, to, `${label}, ${this.#caption}`);
    setText(this.most, most ? `${integer(most)} an hour` : "");
    this.#mark(from, to);
    this.#fillTable();
  }

  #mark(from, to) {
    const date = new Date(from);
    date.setMinutes(0, 0, 0);
    const labels = [];
    for (let steps = 0; steps < 30; steps += 1) {
      date.setHours(date.getHours() + 1);
      const share = (date.getTime() - from) / (to - from);
      if (share > 0.97) break;
      if (date.getHours() % MARKS === 0 && share > 0.03) labels.push([share, hourAndMinute(date)]);
    }
    const signature = JSON.stringify(labels);
    if (this.marks.dataset.signature === signature) return;
    this.marks.dataset.signature = signature;
    place(this.marks, labels.map(([share, text]) => {
      const mark = element("span", {}, text);
      mark.style.left = `${share * 100}%`;
      return mark;
    }));
  }

  #point(event) {
    const [from, to] = this.#range;
    const box = this.area.getBoundingClientRect();
    const moment = from + ((event.clientX - box.left) / box.width) * (to - from);
    const bucket = this.#list.find(({ start, end }) => moment >= start && moment < end);
    this.bars.point(bucket, from);
    setText(this.caption, bucket ? `${dateAndTime(new Date(bucket.start))} to ${hourAndMinute(new Date(bucket.end))}, ${sentence(bucket.row)}` : this.#caption);
  }

  #unpoint() {
    this.bars.point(null, 0);
    setText(this.caption, this.#caption);
  }

  /** Only what is open is kept up to date. */
  #fillTable() {
    if (!this.details.open) return;
    place(this.table, this.#list.map(({ start, row }) => {
      const date = new Date(start);
      return element("tr", {}, element("th", { scope: "row", title: utc(date) }, dateAndTime(date)),
        ...["calls", ...SERIES.map(([key]) => key)].map((key) => element("td", { class: "number" }, integer(row[key] ?? 0))));
    }));
  }
}
