// All tags, as a table of which only what is seen exists: 50,000 rows scroll like 50.

import { ask, every, may, query } from "../api.js";
import { h, put, text } from "../dom.js";
import { age, value } from "../format.js";
import { askToWrite } from "../write.js";

const HEIGHT = 34;  // pixels of a row, as the style sheet has it
const MARGIN = 15;  // rows above and below what is seen
const MOST = 8_000_000;  // pixels: browsers end at about twice that
const TITLES = ["Tag", "Value", "Age", "Quality", "Description", "Actions"];

export function show(main, _rest, parameters) {
  const search = h("input", { type: "search", id: "search", placeholder: "name, words, or boiler.*", value: parameters.get("filter") || "", autocomplete: "off" });
  const count = h("span", { class: "quiet", role: "status" });
  const rows = h("div", { class: "rows", role: "presentation" });
  const space = h("div", { "aria-hidden": "true" });
  const view = h("div", { class: "view", tabindex: "0", "aria-label": "Tags; arrow keys scroll" }, space, rows);
  const grid = h("div", { class: "grid", role: "table", "aria-label": "Tags" },
    h("div", { role: "rowgroup" }, h("div", { role: "row", class: "head" }, TITLES.map((title) => h("span", { role: "columnheader" }, title)))), view);
  view.setAttribute("role", "rowgroup");
  put(main, h("div", { class: "row" }, h("h1", null, "Tags"), h("label", { for: "search" }, "Search ", search), count), grid);
  const pool = [];
  let total = 0, first = 0, page = [], busy = false, again = false;

  // One question at a time: what is wanted meanwhile is asked for afterwards.
  async function load() {
    again = true;
    if (busy) return;
    busy = true;
    try {
      while (again) { again = false; await look(); }
    } finally { busy = false; }
  }

  async function look() {
    const seen = Math.ceil(view.clientHeight / HEIGHT);
    const wanted = Math.max(0, Math.floor(place() / HEIGHT) - MARGIN);
    const told = await ask(`tags?${query({ filter: search.value, offset: wanted, limit: Math.min(seen + 2 * MARGIN, 200) })}`);
    total = told.total;
    first = told.offset;
    page = told.tags;
    space.style.height = `${Math.min(total * HEIGHT, MOST)}px`;
    grid.setAttribute("aria-rowcount", total + 1);
    text(count, `${total} tags`);
    draw();
  }

  // Where the view would be if all rows had their height: a very long list scrolls in larger steps.
  function place() {
    const whole = total * HEIGHT;
    if (whole <= MOST) return view.scrollTop;
    const range = MOST - view.clientHeight;
    return range > 0 ? (view.scrollTop / range) * (whole - view.clientHeight) : 0;
  }

  function draw() {
    while (pool.length < page.length) { pool.push(makeRow()); rows.append(pool.at(-1).item); }
    pool.forEach((row, at) => row.update(page[at], first + at));
    rows.style.transform = `translateY(${Math.round(first * HEIGHT - place() + view.scrollTop)}px)`;
  }

  let waiting = 0, typing = 0;
  view.addEventListener("scroll", () => {
    if (!waiting) waiting = requestAnimationFrame(() => {
      waiting = 0;
      draw();
      const top = place() / HEIGHT, seen = view.clientHeight / HEIGHT;
      if ((first > 0 && top < first + 3) || (first + page.length < total && top + seen > first + page.length - 3)) load().catch(() => {});
    });
  });
  search.oninput = () => {
    clearTimeout(typing);
    typing = setTimeout(() => { view.scrollTop = 0; load().catch(() => {}); }, 40);
  };
  search.focus();
  return every(1000, load);
}

function makeRow() {
  const cells = TITLES.map(() => h("span", { role: "cell" }));
  const item = h("div", { role: "row" }, cells);
  const shown = h("span", { class: "value" });
  const trend = h("a", null, "Trend");
  const write = h("button", { type: "button" }, "Write…");
  put(cells[1], shown);
  put(cells[5], trend, " ", write);
  let current = null;
  write.onclick = () => askToWrite(current);
  return {
    item,
    update(tag, index) {
      item.hidden = !tag;
      if (!tag) return;
      const moved = current && current.tag === tag.tag && value(current.value) !== value(tag.value);
      const other = !current || current.tag !== tag.tag;
      current = tag;
      item.setAttribute("aria-rowindex", index + 2);
      text(cells[0], tag.tag);
      text(shown, `${value(tag.value)} ${tag.value === null ? "" : tag.unit}`);
      if (moved) { shown.classList.remove("moved"); void shown.offsetWidth; shown.classList.add("moved"); }
      text(cells[2], age(tag.age_s));
      text(cells[3], tag.reason);
      cells[3].title = tag.good ? "" : tag.reason;
      item.classList.toggle("is-bad", !tag.good);
      cells[3].className = tag.good ? "good" : "bad";
      text(cells[4], tag.description);
      if (!other) return;
      cells[0].title = tag.tag;
      cells[4].title = tag.description;
      trend.href = `#/trends?tags=${encodeURIComponent(tag.tag)}`;
      trend.setAttribute("aria-label", `Trend of ${tag.tag}`);
      write.hidden = !(tag.writable && may("operator"));
      write.setAttribute("aria-label", `Write ${tag.tag}`);
    },
  };
}
