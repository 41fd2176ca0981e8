// What the server tells by itself: one stream of events, opened again with more and more patience when it ends.

const FIRST_WAIT = 1000;
const LONGEST_WAIT = 30_000;
// Browsers allow few connections to a server: a page that nobody looks at gives its own back.
const PATIENCE_HIDDEN = 60_000;

/** The stream. `on.call`, `on.meters`, `on.warning` get what comes; `on.state` the state, and when the next try is due. */
export class Live {
  #on;
  #source = null;
  #wait = FIRST_WAIT;
  #timer = 0;

  constructor(on) {
    this.#on = on;
    document.addEventListener("visibilitychange", () => this.#seen());
  }

  /** Opens the stream now, also when the next try is not due. */
  open() {
    this.#close();
    this.#on.state("connecting");
    const source = new EventSource("events");
    this.#source = source;
    source.addEventListener("open", () => {
      this.#wait = FIRST_WAIT;
      this.#on.state("live");
    });
    source.addEventListener("error", () => this.#failed());
    for (const kind of ["call", "meters", "warning"]) {
      source.addEventListener(kind, (event) => {
        const data = parsed(event.data);
        if (data) this.#on[kind](data);
      });
    }
  }

  #close() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }

  #failed() {
    this.#close();
    // A server that comes back does not get all pages in one moment.
    const wait = Math.round(this.#wait * (0.75 + Math.random() / 2));
    this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT);
    this.#timer = setTimeout(() => this.open(), wait);
    this.#on.state("waiting", Date.now() + wait);
  }

  #seen() {
    if (document.hidden) {
      if (!this.#source) return;
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => {
        this.#close();
        this.#on.state("paused");
      }, PATIENCE_HIDDEN);
    } else if (this.#source) {
      clearTimeout(this.#timer);
    } else {
      this.#wait = FIRST_WAIT;
      this.open();
    }
  }
}

/** What cannot be read is not shown: the next answer of a page tells it again. */
function parsed(text) {
  try {
    const data = JSON.parse(text);
    return data !== null && typeof data === "object" ? data : null;
  } catch {
    return null;
  }
}
