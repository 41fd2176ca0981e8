// Elements. Everything from the server goes in as text: names may be hostile, so no markup is ever parsed.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) setAttribute(node, name, value);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** An element with these attributes and children; strings become text. */
export function element(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same in SVG. */
export function drawing(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** A name from outside: isolated, so that its writing direction stays its own. */
export function name(text) {
  return element("bdi", { class: "name" }, text);
}

/** Sets the text of an element, which holds nothing else, if it is another one. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Sets an attribute if it is another one; null, undefined and false take it away. */
export function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
    return;
  }
  const text = value === true ? "" : String(value);
  if (node.getAttribute(name) !== text) node.setAttribute(name, text);
}

/** Shows an element or hides it. */
export function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

/** Makes the children of a parent these nodes, in this order, and moves only what must be moved. */
export function place(parent, nodes) {
  const wanted = new Set(nodes);
  for (const child of [...parent.childNodes]) if (!wanted.has(child)) child.remove();
  let next = parent.firstChild;
  for (const node of nodes) {
    if (node === next) next = next.nextSibling;
    else parent.insertBefore(node, next);
  }
}

/** The element with this id. */
export const byId = (id) => document.getElementById(id);

let spoken;
/** Tells a screen reader, when it has nothing else to say. The same words twice in a row are told twice. */
export function announce(text) {
  const announcer = byId("announcer");
  clearTimeout(spoken);
  announcer.textContent = "";
  spoken = setTimeout(() => { announcer.textContent = text; }, 100);
}
