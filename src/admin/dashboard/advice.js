// What the history advises: each with its numbers.

import { byId, element, name, place, setText, show } from "./dom.js";
import { counted, integer } from "./format.js";

const KINDS = {
  identical_polls: "Identical polls",
  revalidate: "Conditional requests",
  cache: "Cache",
  always_fails: "Always fails",
  spike: "Spike",
  starving: "Starving others",
};

export class Advice {
  #advice = null;
  #words = [];

  constructor(schedule) {
    this.schedule = schedule;
  }

  set(answer) {
    this.#advice = answer.advice;
    this.schedule();
  }

  filter(words) {
    this.#words = words;
    this.schedule();
  }

  *render() {
    if (!this.#advice) return;
    const fits = this.#advice.filter((one) => {
      const text = [one.connection, one.consumer, one.endpoint, one.policy, one.text, KINDS[one.kind] ?? one.kind].join("\n").toLowerCase();
      return this.#words.every((word) => text.includes(word));
    });
    const signature = JSON.stringify(fits);
    if (signature === this.signature) return;
    this.signature = signature;
    place(byId("advices"), fits.map(item));
    setText(byId("advice-count"), fits.length ? integer(fits.length) : "");
    show(byId("no-advice"), fits.length === 0);
    setText(byId("no-advice"), this.#advice.length ? "No advice fits the filter." : "Nothing to advise: no waste was found in the last 24 hours.");
  }
}

function item(one) {
  const facts = [];
  if (typeof one.saved === "number") facts.push(`saves ${counted(one.saved, "call")}`);
  const where = [one.connection, one.consumer, one.endpoint, one.policy].filter(Boolean);
  return element("li", {},
    element("p", { class: "advice-head" }, element("b", {}, KINDS[one.kind] ?? one.kind),
      facts.length ? element("span", { class: "saved" }, facts.join(", ")) : null),
    element("p", {}, element("bdi", {}, one.text)),
    element("p", { class: "where" }, ...where.flatMap((text, index) => (index ? [" · ", name(text)] : [name(text)]))));
}
