// What does not work: of headroom, of its store and of this page.

import { announce, byId, element, name, place, setAttribute, setText, show } from "./dom.js";
import { integer, percent, timeOfDay, utc } from "./format.js";

// Warnings of the stream that stay on the page until they recover or are closed.
const MOST_WARNINGS = 5;

export class Health {
  #checks = new Map();
  #warnings = new Map();

  constructor(schedule) {
    this.schedule = schedule;
  }

  /** `state` is good, unknown or bad; a text that is bad is told at the top of the page too. */
  set(check, state, text) {
    const old = this.#checks.get(check);
    if (old?.state === state && old.text === text) return;
    if (state === "bad" || old?.state === "bad") announce(`${check}: ${text}`);
    this.#checks.set(check, { state, text });
    this.schedule();
  }

  /** The text of readiness: its first line is the gateway's state, each other one a trouble. */
  setReadiness(text) {
    const [first, ...troubles] = text.trim().split("\n");
    this.set("Gateway", first === "ready" ? "good" : "bad", first);
    const own = "configuration: ";
    const configuration = troubles.find((trouble) => trouble.startsWith(own));
    const store = troubles.filter((trouble) => trouble !== configuration);
    this.set("Store", store.length ? "bad" : "good", store.length ? `${store.join("; ")}. Traffic goes on and is counted in memory.` : "counts and history are written");
    this.set("Configuration", configuration ? "bad" : "good", configuration ? `${configuration.slice(own.length)}. What ran before goes on.` : "as in the files");
  }

  warn(warning) {
    const { data, type } = warning;
    const key = (forecast) => JSON.stringify([data.connection, data.policy, data.partition, forecast]);
    const its = key(type === "quota.forecast");
    const old = this.#warnings.get(its);
    this.#warnings.delete(its);
    // What has recovered will not run out either.
    if (type === "quota.recovered") this.#warnings.delete(key(true));
    else this.#warnings.set(its, warning);
    while (this.#warnings.size > MOST_WARNINGS) this.#warnings.delete(this.#warnings.keys().next().value);
    if (old?.data.threshold !== data.threshold || old?.type !== type) announce(`${data.connection}, ${data.policy}: ${words(warning)}`);
    this.schedule();
  }

  *render() {
    // Several pages may fail for one reason, which is told once.
    const bad = new Map([...this.#checks].filter(([, { state }]) => state === "bad").map(([check, { text }]) => [text, check]));
    const notices = [
      ...[...bad].map(([text, check]) => ({ key: `${check} ${text}`, make: () => element("p", { class: "notice", "data-level": "out" }, element("span", {}, element("b", {}, check), ` ${text}`)) })),
      ...[...this.#warnings].map(([key, warning]) => ({ key: key + warning.timestamp, make: () => this.#warning(key, warning) })),
    ];
    const box = byId("notices");
    const known = new Map([...box.children].map((node) => [node.dataset.key, node]));
    place(box, notices.map(({ key, make }) => {
      const node = known.get(key) ?? make();
      node.dataset.key = key;
      return node;
    }));
    show(box, notices.length > 0);
    const list = byId("checks");
    const rows = new Map([...list.children].map((node) => [node.dataset.check, node]));
    place(list, [...this.#checks].map(([check, { state, text }]) => {
      const row = rows.get(check) ?? element("div", { "data-check": check }, element("dt", {}, check), element("dd"));
      setAttribute(row, "data-state", state);
      setText(row.lastElementChild, text);
      return row;
    }));
  }

  #warning(key, warning) {
    const { data, timestamp } = warning;
    const date = new Date(timestamp);
    const close = element("button", { type: "button", class: "close", "aria-label": `Close the warning of ${data.policy} of ${data.connection}` }, "×");
    close.addEventListener("click", () => {
      this.#warnings.delete(key);
      this.schedule();
    });
    const full = data.threshold >= 100 || data.remaining === 0;
    return element("p", { class: "notice", "data-level": full ? "out" : "near" },
      element("span", {}, element("time", { datetime: timestamp, title: utc(date) }, timeOfDay(date)), " ",
        element("b", {}, name(data.connection), " ", name(data.policy)), ` ${words(warning)}`), close);
  }
}

function words({ type, data }) {
  const left = data.remaining === null || data.remaining === undefined ? "" : `, ${integer(data.remaining)} ${data.unit} left`;
  if (type === "quota.recovered") return "has recovered";
  if (type === "quota.forecast") {
    const date = data.runs_out_at && new Date(data.runs_out_at);
    return date ? `will be used up at ${timeOfDay(date)}, before its reset${left}` : `will be used up before its reset${left}`;
  }
  const passed = `has passed ${percent(data.threshold / 100)}`;
  if (data.used === null) return passed + left;
  const used = data.limit ? percent(Math.min(1, data.used / data.limit)) : `${integer(data.used)} ${data.unit}`;
  return `${passed}: ${used} used${left}`;
}
