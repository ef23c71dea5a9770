// Elements out of plain calls. Texts become text nodes, never markup: names come from devices.

const SVG = "http://www.w3.org/2000/svg";

export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "disabled") element[name] = value;
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  put(element, ...children);
  return element;
}

export function put(element, ...children) {
  for (const child of children.flat(Infinity)) {
    if (child != null && child !== false) element.append(child.nodeType ? child : String(child));
  }
}

export function set(element, ...children) {
  element.replaceChildren();
  put(element, ...children);
}

export function text(element, words) {
  const wanted = String(words);
  if (element.textContent !== wanted) element.textContent = wanted;
}

export function table(titles, rows, caption) {
  const head = titles.map((title) =>
    h("th", { scope: "col", class: title.startsWith(">") && "n" }, title.replace(">", "")));
  const body = rows.map((row) => h("tr", null, row.map((cell, at) =>
    h("td", { class: titles[at].startsWith(">") && "n" }, cell))));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", null, h("thead", null, h("tr", null, head)), h("tbody", null, body)));
}

export function pairs(entries) {
  return h("dl", null, entries.filter(([, value]) => value !== "" && value != null)
    .map(([name, value]) => [h("dt", null, name), h("dd", null, value)]));
}

export function say(words) {
  const place = document.getElementById("said");
  text(place, words);
  clearTimeout(say.timer);
  say.timer = setTimeout(() => text(place, ""), 6000);
}

// Ask in a dialog; resolves with what `done` was called with, or undefined where it was closed.
export function dialog(title, build) {
  return new Promise((resolve) => {
    const box = h("dialog", { "aria-label": title });
    let answer;
    const done = (value) => { answer = value; box.close(); };
    put(box, h("h2", null, title), build(done));
    box.addEventListener("close", () => { box.remove(); resolve(answer); });
    document.body.append(box);
    box.showModal();
  });
}
