// One meter: how full it is, when quota comes back, who used it, and who says so.

import { element, name, place, setAttribute, setText, show } from "./dom.js";
import { counted, dateAndTime, duration, each, integer, percent, utc } from "./format.js";

const NEAR = 0.8;
const CRITICAL = 0.95;
// Names in one line of consumers; the others are counted.
const MOST_CONSUMERS = 5;

const SOURCES = {
  "provider": ["Provider’s number", "provider", "The provider said so in its last answer."],
  "provider;estimated": ["Provider’s, estimated", "provider, est.", "Made of what the provider said; a part of it is derived."],
  "own": ["Counted by headroom", "headroom", "The provider says nothing about this quota; headroom counted."],
  "own;estimated": ["Headroom’s estimate", "headroom, est.", "Counted by headroom, and a part is not exact."],
};

/** Who says so: in full, in short, and what that means. */
export const source = (meter) => SOURCES[meter.source] ?? [meter.source, meter.source, null];

const MODES = {
  observe: ["observed only", "Headroom stops no call for this quota."],
  enforce: ["enforced", "Headroom refuses calls that do not fit into this quota."],
  wait: ["calls wait", "Calls that do not fit into this quota wait until they do."],
};

/** What follows from a meter: `filled` of the limit, as a share of one, or null; and how bad that is. */
export function standing(meter) {
  const { limit, remaining, used } = meter;
  let filled = null;
  if (limit !== null && limit > 0) {
    const share = remaining === null ? used / limit : 1 - remaining / limit;
    filled = Math.min(1, Math.max(0, share));
  }
  if (remaining === 0) filled = 1;
  let level = "unknown";
  if (filled !== null) level = filled >= 1 ? "out" : filled >= CRITICAL ? "critical" : filled >= NEAR ? "near" : "fine";
  // What the provider has closed comes first, then what is used up, then what will be soonest.
  let urgency = filled ?? -1;
  if (meter.suspended !== null) urgency += 3;
  else if (level === "out") urgency += 1;
  else if (meter.forecast) urgency += 0.05;
  return { filled, level, urgency };
}

/** What tells one meter of a connection from its others. */
export const key = (meter) => JSON.stringify([meter.policy, meter.partition, meter.unit]);

const amounts = ({ used, limit, unit }) =>
  limit === null ? `${integer(used)} ${unit} used` : `${integer(used)} of ${integer(limit)} ${unit}`;

/** The bar. Its colours say no more than the words beside it. */
export class Bar {
  constructor() {
    this.own = element("span", { class: "by-consumers" });
    this.others = element("span", { class: "by-others" });
    this.node = element("div", { class: "bar" }, this.own, this.others);
  }

  update(meter, label) {
    const { filled, level } = standing(meter);
    setAttribute(this.node, "data-level", level);
    const left = meter.remaining === null ? "what is left is not known" : `${integer(meter.remaining)} left`;
    const text = `${amounts(meter)}, ${left}`;
    if (filled === null) {
      for (const attribute of ["aria-valuemin", "aria-valuemax", "aria-valuenow", "aria-valuetext"]) setAttribute(this.node, attribute, null);
      setAttribute(this.node, "role", "img");
      setAttribute(this.node, "aria-label", `${label}: ${text}`);
    } else {
      setAttribute(this.node, "role", "meter");
      setAttribute(this.node, "aria-label", label);
      setAttribute(this.node, "aria-valuemin", 0);
      setAttribute(this.node, "aria-valuemax", 100);
      setAttribute(this.node, "aria-valuenow", Math.floor(filled * 100));
      setAttribute(this.node, "aria-valuetext", text);
    }
    const whole = filled ?? 0;
    const others = meter.used > 0 ? whole * Math.min(1, meter.others / meter.used) : 0;
    width(this.own, whole - others);
    width(this.others, others);
  }
}

function width(node, share) {
  const text = `${Math.round(share * 1000) / 10}%`;
  if (node.style.width !== text) node.style.width = text;
}

export const leftText = ({ remaining }) => (remaining === null ? "left: unknown" : `${integer(remaining)} left`);

/** When quota comes back, in words that count down. `received` is when the server said it (performance.now). */
export function resetText(meter, received, now) {
  if (meter.reset === null) return meter.window === null ? "" : "reset not known";
  const left = meter.reset - (now - received) / 1000;
  return left <= 0 ? "resets now" : `resets in ${duration(Math.ceil(left))}`;
}

/** The moment, for a tooltip. */
export function resetTitle(meter, receivedAt) {
  if (meter.reset === null) return null;
  const date = new Date(receivedAt + meter.reset * 1000);
  return `${dateAndTime(date)} (${utc(date)})`;
}

/** The row of one meter. */
export class MeterRow {
  #meter = null;
  #received = 0;

  constructor() {
    this.title = element("span", { class: "policy" });
    this.bar = new Bar();
    this.share = element("span", { class: "share number" });
    this.amount = element("span", { class: "amount number" });
    this.left = element("span", { class: "left number" });
    this.reset = element("span", { class: "reset number" });
    this.source = element("span", { class: "source" });
    this.mode = element("span", { class: "mode" });
    this.window = element("span", { class: "window" });
    this.flags = element("span", { class: "flags" });
    this.users = element("p", { class: "users" });
    this.node = element("li", { class: "meter" },
      this.title, this.bar.node, this.share, this.amount, this.left, this.reset,
      element("p", { class: "fine" }, this.source, this.mode, this.window, this.flags),
      this.users);
  }

  update(meter, received, receivedAt) {
    const { filled, level } = standing(meter);
    this.#meter = meter;
    this.#received = received;
    if (!this.title.hasChildNodes()) {
      this.title.append(name(meter.policy));
      if (meter.partition) this.title.append(element("span", { class: "partition", title: meter.partition }, name(meter.partition)));
    }
    setAttribute(this.node, "data-level", level);
    this.bar.update(meter, `${meter.policy} ${meter.partition}`.trim());
    setText(this.share, filled === null ? "?" : percent(filled));
    setText(this.amount, amounts(meter));
    setText(this.left, leftText(meter));
    setAttribute(this.reset, "title", resetTitle(meter, receivedAt));
    const [words, , meaning] = source(meter);
    setText(this.source, words);
    setAttribute(this.source, "title", meaning);
    setAttribute(this.node, "data-estimated", meter.source.endsWith("estimated"));
    const [mode, does] = MODES[meter.mode] ?? [meter.mode, null];
    setText(this.mode, mode);
    setAttribute(this.mode, "title", does);
    setText(this.window, meter.window === null ? "" : `per ${each(meter.window)}`);
    show(this.window, meter.window !== null);
    this.#who(meter);
    this.tick(performance.now());
  }

  /** What changes with time alone. */
  tick(now) {
    const meter = this.#meter;
    setText(this.reset, resetText(meter, this.#received, now));
    const gone = (now - this.#received) / 1000;
    const flags = [];
    if (meter.suspended !== null) {
      const left = Math.ceil(meter.suspended - gone);
      flags.push(["out", left > 0 ? `suspended by the provider for ${duration(left)}` : "suspension ends"]);
    } else if (meter.remaining === 0) {
      flags.push(["out", "used up"]);
    }
    if (meter.waiting > 0) flags.push(["near", `${counted(meter.waiting, "call")} waiting`]);
    if (meter.forecast) {
      const left = meter.forecast.runs_out_in - gone;
      flags.push(["near", left > 0 ? `at this pace used up in ${duration(left)}, before the reset` : "at this pace used up by now", meter.forecast.runs_out_at]);
    }
    if (meter.in_flight > 0) flags.push(["", `${integer(meter.in_flight)} in flight`]);
    this.#flag(flags);
    return meter.reset !== null && gone > meter.reset;
  }

  #flag(flags) {
    while (this.flags.children.length > flags.length) this.flags.lastElementChild.remove();
    for (const [index, [level, text, at]] of flags.entries()) {
      const node = this.flags.children[index] ?? this.flags.appendChild(element("span", { class: "flag" }));
      setText(node, text);
      setAttribute(node, "data-level", level || null);
      const date = at && new Date(at);
      setAttribute(node, "title", date ? `${dateAndTime(date)} (${utc(date)})` : null);
    }
  }

  #who(meter) {
    const parts = meter.consumers.slice(0, MOST_CONSUMERS).map((user) => [user.consumer, user.used, "consumer"]);
    const more = meter.consumers.slice(MOST_CONSUMERS);
    const sum = (list) => list.reduce((total, user) => total + user.used, 0);
    if (more.length) parts.push([`${integer(more.length)} more`, sum(more), "more"]);
    const unnamed = meter.used - meter.others - sum(meter.consumers);
    if (unnamed > 0) parts.push(["without a name", unnamed, "unnamed"]);
    if (meter.others > 0) parts.push(["outside headroom", meter.others, "outside"]);
    const signature = JSON.stringify(parts);
    if (this.users.dataset.signature === signature) return;
    this.users.dataset.signature = signature;
    place(this.users, parts.map(([label, used, kind]) => element("span", { class: `user ${kind}`, title: TITLES[kind] ?? label },
      kind === "consumer" ? name(label) : element("span", {}, label), " ", element("b", {}, integer(used)))));
  }
}

const TITLES = {
  unnamed: "Used through headroom by callers without a name, or counted as used after a crash.",
  outside: "Used by others outside headroom, as the provider’s numbers show.",
};
