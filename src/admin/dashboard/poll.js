// Pages that are read again and again: one request at a time, never faster than allowed, slower where the server is slow.

const TIMEOUT = 15_000;
// Of its time the server spends at most one part in this many on one page of this dashboard.
const RESTRAINT = 10;
// An answer of more characters is not a message.
const LONGEST = 300;

/** An answer that is none, in the words of the server: a problem document, or a line of text. */
async function failure(response) {
  const text = (await response.text()).trim();
  let told = text.includes("\n") || text.length > LONGEST ? "" : text;
  if (text.startsWith("{")) {
    try {
      const { detail, title } = JSON.parse(text);
      told = String(detail ?? title ?? "");
    } catch {
      // No problem document: the status says what there is to say.
      told = "";
    }
  }
  return new Error(told || `the server answered ${response.status}`);
}

/** Reads a page. */
export async function read(url, as) {
  const response = await fetch(url, { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT) });
  // Of readiness the text counts, whatever the status.
  if (!response.ok && as !== "text") throw await failure(response);
  return as === "text" ? response.text() : response.json();
}

/** A page: `url()` where it is, `least` and `most` the milliseconds between two readings. */
export class Poll {
  #options;
  #timer = 0;
  #due = Infinity;
  #running = false;
  #again = false;
  #next = 0;

  constructor(options) {
    this.#options = options;
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.ask();
    });
  }

  /** Wants the page as soon as it is allowed. */
  ask() {
    if (this.#running) this.#again = true;
    else this.#schedule(this.#next);
  }

  /** Wants another page: what is under way comes too late. */
  restart() {
    this.#next = 0;
    this.ask();
  }

  #schedule(moment) {
    if (moment >= this.#due) return;
    this.#due = moment;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#run(), Math.max(0, moment - performance.now()));
  }

  async #run() {
    this.#due = Infinity;
    if (document.hidden) return;
    const { url, as, least, most, good, bad } = this.#options;
    this.#running = true;
    const started = performance.now();
    const wanted = url();
    let failed = false;
    try {
      const answer = await read(wanted, as);
      if (wanted === url()) good(answer);
      else this.#again = true;
    } catch (error) {
      failed = true;
      bad(error.name === "TimeoutError" ? new Error("no answer in time") : error);
    }
    this.#running = false;
    const took = performance.now() - started;
    const changed = wanted !== url();
    this.#next = changed ? 0 : started + Math.max(failed ? 5000 : least, took * RESTRAINT);
    this.#schedule(started + Math.max(most, took * RESTRAINT));
    if (this.#again) {
      this.#again = false;
      this.#schedule(this.#next);
    }
  }
}
