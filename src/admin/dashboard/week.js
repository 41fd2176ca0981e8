// The last seven dates by consumer, and how they and the last 24 hours fit together.

import { byId, element, name, place, setAttribute, setText, show } from "./dom.js";
import { ZONE, bytes, calendarDate, counted, dateAndTime, integer, utc } from "./format.js";

const DAYS = 7;
// Rows at first, and more of them each time; the totals are of all.
const ROWS = 50;

export class Week {
  #usage = null;
  #words = [];
  #most = ROWS;
  #options = "";
  #rows = new Map();
  #columns = "";

  /** `changed` is called when another table is wanted. */
  constructor(schedule, changed) {
    this.schedule = schedule;
    this.head = element("tr");
    this.body = element("tbody");
    this.foot = row(element("th", { scope: "row" }));
    byId("week-table").append(element("thead", {}, this.head), this.body, element("tfoot", {}, this.foot.node));
    this.more = element("button", { type: "button", class: "show-more", hidden: true });
    this.more.addEventListener("click", () => {
      this.#most += 4 * ROWS;
      schedule();
    });
    byId("week-empty").after(this.more);
    this.overlap = new Overlap(byId("overlap"));
    this.zone = byId("week-zone");
    if (ZONE !== "UTC") this.zone.append(element("option", { value: ZONE }, ZONE));
    byId("measure").addEventListener("change", () => schedule());
    this.connection = byId("week-connection");
    for (const select of [this.connection, this.zone]) select.addEventListener("change", changed);
  }

  get url() {
    const query = new URLSearchParams({ by: "consumer,day", last: "7d", tz: this.zone.value });
    if (this.connection.value) query.set("connection", this.connection.value);
    return `usage?${query}`;
  }

  setUsage(usage) {
    this.#usage = usage;
    this.schedule();
  }

  filter(words) {
    this.#words = words;
    this.schedule();
  }

  /** The connections that there are to choose from. */
  setConnections(names) {
    const signature = JSON.stringify(names);
    if (signature === this.#options) return;
    this.#options = signature;
    const chosen = this.connection.value;
    const known = new Map([...this.connection.options].map((option) => [option.value, option]));
    const all = chosen && !names.includes(chosen) ? [chosen, ...names] : names;
    place(this.connection, ["", ...all].map((text) => known.get(text) ?? element("option", { value: text }, text)));
  }

  *render() {
    const usage = this.#usage;
    if (!usage) return;
    show(byId("week-table"), usage.rows.length > 0);
    const measure = byId("measure").value;
    const write = measure === "bytes_out" ? bytes : integer;
    const days = dates(usage);
    const consumers = grouped(usage.rows, measure);
    const shown = consumers.filter(({ consumer }) => this.#words.every((word) => consumer.toLowerCase().includes(word)));
    const rows = shown.slice(0, this.#most);
    const most = Math.max(1, ...consumers.flatMap(({ byDay }) => [...byDay.values()]));
    this.#setColumns(days);
    const nodes = rows.map(({ consumer, byDay, total }) => {
      const its = this.#rows.get(consumer) ?? row(element("th", { scope: "row", title: consumer }, name(consumer)));
      this.#rows.set(consumer, its);
      its.fill([...days.map((day) => byDay.get(day) ?? 0), total], write, most);
      return its.node;
    });
    place(this.body, nodes);
    const kept = new Set(rows.map(({ consumer }) => consumer));
    for (const consumer of this.#rows.keys()) if (!kept.has(consumer)) this.#rows.delete(consumer);
    setText(this.foot.label, shown.length < consumers.length ? "All consumers" : "Total");
    const sum = (day) => consumers.reduce((total, { byDay }) => total + (byDay.get(day) ?? 0), 0);
    this.foot.fill([...days.map(sum), usage.totals[measure] ?? 0], write, Infinity);
    show(byId("week-empty"), shown.length === 0);
    setText(byId("week-empty"), usage.rows.length ? "No consumer fits the filter." : "No calls in these seven days.");
    show(this.more, rows.length < shown.length);
    setText(this.more, `Show more of ${integer(shown.length - rows.length)}`);
    this.overlap.update(usage);
    const notes = byId("week-notes");
    while (notes.children.length > usage.notes.length) notes.lastElementChild.remove();
    for (const [index, note] of usage.notes.entries()) setText(notes.children[index] ?? notes.appendChild(element("li")), note);
  }

  /** Other dates make another table. */
  #setColumns(days) {
    const signature = days.join();
    if (signature === this.#columns) return;
    this.#columns = signature;
    this.#rows.clear();
    const head = ["Consumer", ...days.map(calendarDate), "Total"];
    place(this.head, head.map((text, index) => element("th", { scope: "col", class: index ? "number" : null }, text)));
  }
}

/** A row of numbers that is filled again and again. The last number is the row's total. */
function row(label) {
  const node = element("tr", {}, label);
  const fill = (numbers, write, most) => {
    while (node.children.length > numbers.length + 1) node.lastElementChild.remove();
    for (const [index, number] of numbers.entries()) {
      const cell = node.children[index + 1] ?? node.appendChild(element("td"));
      const total = index === numbers.length - 1;
      setAttribute(cell, "class", total ? "number total" : number ? "number" : "number zero");
      setText(cell, write(number));
      const heat = total ? "0%" : `${Math.round((number / most) * 100)}%`;
      if (cell.style.getPropertyValue("--heat") !== heat) cell.style.setProperty("--heat", heat);
    }
  };
  return { node, label, fill };
}

/** The last 24 hours are no whole dates: which part of which date they are. */
class Overlap {
  constructor(box) {
    this.box = box;
    this.text = element("p");
    this.body = element("tbody");
    this.calls = element("td", { class: "number" });
    const head = ["Date", "Before the last 24 hours", "Within the last 24 hours", "The whole date"];
    box.append(
      element("h3", {}, "Why the last 24 hours are not the sum of two days"), this.text,
      element("div", { class: "scroller", role: "region", "aria-label": "Dates and the last 24 hours", tabindex: "0" },
        element("table", { class: "split" },
          element("thead", {}, element("tr", {}, ...head.map((label, index) => element("th", { scope: "col", class: index ? "number" : null }, label)))),
          this.body,
          element("tfoot", {}, element("tr", {}, element("th", { scope: "row" }, "Last 24 hours"), element("td"), this.calls, element("td"))))));
  }

  update({ last_24h: last, time_zone: zone }) {
    show(this.box, Boolean(last?.days.length));
    if (!last?.days.length) return;
    const from = new Date(last.from);
    const before = last.days.filter((day) => day.before > 0);
    const outside = before.map((day) => `${counted(day.before, "call")} of ${calendarDate(day.day)}`).join(" and ");
    setAttribute(this.text, "title", utc(from));
    setText(this.text, `The last 24 hours began ${dateAndTime(from)} and are no whole date; the dates here begin at 00:00 in ${zone}. ${
      outside ? `${outside} came before that moment: they are in this table and not in the last 24 hours.` : "No call of these dates came before that moment."}`);
    setText(this.calls, integer(last.calls));
    const most = Math.max(1, ...last.days.map((day) => day.calls));
    while (this.body.children.length > last.days.length) this.body.lastElementChild.remove();
    for (const [index, day] of last.days.entries()) {
      const line = this.body.children[index] ?? this.body.appendChild(element("tr", {}, element("th", { scope: "row" }), element("td", { class: "number before" }), element("td", { class: "number within" }), element("td", { class: "number" })));
      setText(line.children[0], calendarDate(day.day));
      for (const [at, number] of [[1, day.before], [2, day.within_last_24h], [3, day.calls]]) {
        setText(line.children[at], integer(number));
        line.children[at].style.setProperty("--part", `${Math.round((number / most) * 100)}%`);
      }
    }
  }
}

/** The seven dates of a report, also those without calls: it begins at 00:00 of the first. */
function dates(usage) {
  const found = new Set(usage.rows.map((row) => row.day));
  for (const day of usage.last_24h?.days ?? []) found.add(day.day);
  const parts = new Intl.DateTimeFormat("en-CA", { timeZone: usage.time_zone, year: "numeric", month: "2-digit", day: "2-digit" });
  const first = Date.parse(`${parts.format(new Date(usage.from))}T00:00:00Z`);
  for (let day = 0; day < DAYS && !Number.isNaN(first); day += 1) found.add(new Date(first + day * 86_400_000).toISOString().slice(0, 10));
  return [...found].sort();
}

function grouped(rows, measure) {
  const all = [...Map.groupBy(rows, (row) => row.consumer)].map(([consumer, its]) => {
    const byDay = new Map();
    for (const row of its) byDay.set(row.day, (byDay.get(row.day) ?? 0) + (row[measure] ?? 0));
    return { consumer, byDay, total: [...byDay.values()].reduce((a, b) => a + b, 0) };
  });
  return all.sort((a, b) => b.total - a.total || (a.consumer < b.consumer ? -1 : 1));
}
