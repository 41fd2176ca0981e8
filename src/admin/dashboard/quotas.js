// The list of connections: sorted, filtered, and built a few at a time, so that 200 of them do not hold up the page.

import { announce, byId, place, setText, show } from "./dom.js";
import { integer } from "./format.js";
import { standing } from "./meter.js";
import { Panel, summary } from "./panel.js";
import { buckets } from "./plot.js";
import { recall, remember } from "./memory.js";

// With more connections than this each begins as one line.
const MOST_OPEN = matchMedia("(min-width: 112rem)").matches ? 24 : 6;

const ORDERS = {
  near: (a, b) => b.urgency - a.urgency || order(a.connection, b.connection),
  name: (a, b) => order(a.connection, b.connection),
  calls: (a, b) => b.calls - a.calls || order(a.connection, b.connection),
};
const order = new Intl.Collator(undefined, { numeric: true }).compare;

export class Quotas {
  #panels = new Map();
  #meters = new Map();
  #usage = new Map();
  #entries = [];
  #clock = [performance.now(), Date.now()];
  #range = null;
  #stale = true;
  #forced = true;
  #words = [];
  #opened = new Map(Object.entries(recall("opened", {})));
  #all = recall("all", null);

  constructor(schedule) {
    this.list = byId("connections");
    this.schedule = schedule;
    const sort = byId("sort");
    sort.value = recall("sort", "near");
    if (!ORDERS[sort.value]) sort.value = "near";
    sort.addEventListener("change", () => {
      remember("sort", sort.value);
      this.#force();
    });
    for (const [id, open] of [["expand", true], ["collapse", false]]) {
      byId(id).addEventListener("click", () => {
        this.#all = open;
        this.#opened.clear();
        remember("all", open);
        remember("opened", {});
        this.#force();
      });
    }
    // Nothing moves away under a pointer or under the keyboard; what waited for that is done when they leave.
    this.list.addEventListener("pointerleave", () => schedule());
    this.list.addEventListener("focusout", () => schedule());
    // Names that the server put into the page: connections that may have had no calls.
    this.mounted = [...byId("mounted").children].map((node) => ({ node, name: node.textContent.trim().replace(/^\/|\/$/g, "") }));
  }

  /** How many connections have had calls. */
  get size() {
    return new Set([...this.#meters.keys(), ...this.#usage.keys()]).size;
  }

  /** Their names, in order. */
  get names() {
    return [...new Set([...this.#meters.keys(), ...this.#usage.keys()])].sort(order);
  }

  setReport(report) {
    this.#clock = [performance.now(), Date.now()];
    this.#meters = Map.groupBy(report.meters, (meter) => meter.connection);
    for (const meters of this.#meters.values()) meters.sort((a, b) => standing(b).urgency - standing(a).urgency);
    const hidden = report.total - report.meters.length;
    const note = byId("quotas-note");
    show(note, hidden > 0);
    setText(note, `There are ${integer(hidden)} more meters than the ${integer(report.meters.length)} that the server tells.`);
    this.#stale = true;
    this.schedule();
  }

  setUsage(usage) {
    const [from, to] = [Date.parse(usage.from), Date.parse(usage.to)];
    this.#range = [from, to];
    this.#usage = new Map();
    for (const [connection, rows] of Map.groupBy(usage.rows, (row) => row.connection)) {
      const totals = {};
      for (const row of rows) for (const [key, value] of Object.entries(row)) if (typeof value === "number") totals[key] = (totals[key] ?? 0) + value;
      this.#usage.set(connection, { buckets: buckets(rows, from, to), totals });
    }
    this.#stale = true;
    this.schedule();
  }

  filter(words) {
    this.#words = words;
    this.#force();
  }

  #force() {
    this.#forced = true;
    this.schedule();
  }

  #isOpen(connection) {
    return this.#opened.get(connection) ?? this.#all ?? this.#entries.length <= MOST_OPEN;
  }

  #toggle(connection) {
    const open = !this.#isOpen(connection);
    this.#opened.set(connection, open);
    remember("opened", Object.fromEntries(this.#opened));
    this.#panels.get(connection).open(open);
  }

  /** Brings the list up to date; yields after each connection, so that the browser gets its turn. */
  *render() {
    if (this.#stale) {
      this.#stale = false;
      const names = new Set([...this.#meters.keys(), ...this.#usage.keys()]);
      this.#entries = [...names].map((name) => summary(name, this.#meters.get(name) ?? [], this.#usage.get(name)));
      this.#mounts(names);
    }
    const still = !this.#forced && (this.list.matches(":hover") || this.list.contains(document.activeElement));
    this.#forced = false;
    const entries = this.#entries.filter((entry) => this.#words.every((word) => entry.text.includes(word)));
    if (still) {
      const places = new Map([...this.list.children].map((node, index) => [node, index]));
      const at = (entry) => places.get(this.#panels.get(entry.connection)?.node) ?? Infinity;
      entries.sort((a, b) => at(a) - at(b) || 0);
    } else {
      entries.sort(ORDERS[byId("sort").value]);
    }
    this.#tell(entries);
    const nodes = [];
    for (const entry of entries) {
      let panel = this.#panels.get(entry.connection);
      if (!panel) {
        panel = new Panel(entry.connection, () => this.#toggle(entry.connection));
        this.#panels.set(entry.connection, panel);
      }
      panel.open(this.#isOpen(entry.connection));
      panel.update(entry, this.#clock, this.#range);
      nodes.push(panel.node);
      if (!panel.node.isConnected) this.list.append(panel.node);
      yield;
    }
    place(this.list, nodes);
    const known = new Set(this.#entries.map((entry) => entry.connection));
    for (const name of this.#panels.keys()) if (!known.has(name)) this.#panels.delete(name);
  }

  #tell(entries) {
    const all = this.#entries.length;
    const urgent = entries.filter((entry) => entry.urgent).length;
    const shown = entries.length === all ? integer(all) : `${integer(entries.length)} of ${integer(all)}`;
    const text = `${shown} ${all === 1 ? "connection" : "connections"}${urgent ? `, ${integer(urgent)} nearly or wholly used up` : ""}`;
    setText(byId("quotas-count"), all ? text : "");
    show(byId("no-match"), all > 0 && entries.length === 0);
    if (this.#words.join(" ") !== this.told) {
      if (this.told !== undefined) announce(`${shown} connections`);
      this.told = this.#words.join(" ");
    }
  }

  #mounts(used) {
    let quiet = 0;
    for (const { node, name } of this.mounted) {
      show(node, !used.has(name));
      quiet += used.has(name) ? 0 : 1;
    }
    show(byId("mounts"), quiet > 0);
    setText(byId("mounts-count"), integer(quiet));
  }

  /** Each second. True if a reset has passed. */
  tick() {
    const now = performance.now();
    let passed = false;
    for (const panel of this.#panels.values()) passed = panel.tick(now) || passed;
    return passed;
  }
}
