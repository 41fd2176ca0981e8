// What the user chose, kept by the browser. Where it keeps nothing, the choice lasts as long as the page.

const PREFIX = "headroom.";

export function recall(key, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + key)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

export function remember(key, value) {
  try {
    localStorage.setItem(PREFIX + key, JSON.stringify(value));
  } catch {
    // Storage is full or forbidden: nothing is lost but the choice.
  }
}
