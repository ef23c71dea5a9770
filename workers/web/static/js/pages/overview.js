// Devices as cards, the worst first.

import { ask, every } from "../api.js";
import { h, put, svg, text } from "../dom.js";
import { age, rate } from "../format.js";

const WORST = ["offline", "demoted", "connecting", "unknown", "degraded", "online", "disabled"];

export function show(main) {
  const summary = h("p", { class: "quiet" });
  const cards = h("ul", { class: "cards" });
  const empty = h("div", { class: "panel", hidden: true }, h("h2", null, "No device yet"),
    h("p", null, "Find the first one, test the connection, pick its tags, and write the file:"),
    h("p", null, h("a", { href: "#/add" }, "Add the first device")),
    h("p", { class: "quiet" }, "That needs the role engineer: ", h("code", null, "cpppoctl web token --role engineer")));
  const filter = h("input", { type: "search", "aria-label": "Search devices", placeholder: "Search devices" });
  put(main, h("div", { class: "row" }, h("h1", null, "Overview"), filter), summary, empty, cards);
  const known = new Map();
  let rows = [];

  function draw() {
    const wanted = filter.value.toLowerCase();
    const order = rows.filter((row) => `${row.name} ${row.description} ${row.state} ${row.address}`.toLowerCase().includes(wanted))
      .sort((one, other) => severity(one) - severity(other) || one.name.localeCompare(other.name));
    const wantedNames = new Set(order.map((row) => row.name));
    for (const [name, card] of known) if (!wantedNames.has(name)) { card.item.remove(); known.delete(name); }
    order.forEach((row, at) => {
      if (!known.has(row.name)) known.set(row.name, makeCard(row.name));
      const card = known.get(row.name);
      card.update(row);
      if (cards.children[at] !== card.item) cards.insertBefore(card.item, cards.children[at] || null);
    });
  }

  filter.oninput = draw;
  return every(1000, async () => {
    const [status, devices] = await Promise.all([ask("status"), ask("devices")]);
    rows = devices.devices;
    empty.hidden = rows.length > 0;
    const counts = status.summary;
    text(summary, `${counts.devices_up} of ${counts.devices} devices up, ${counts.workers_running} of ${counts.workers}`
      + ` workers running, up ${age(status.up_s)}, configuration ${status.generation}`);
    draw();
  });
}

function severity(row) {
  const at = WORST.indexOf(row.state);
  return (at < 0 ? 3 : at) - (row.state === "online" && row.tags_bad ? 0.5 : 0);
}

function makeCard(name) {
  const link = h("a", { class: "card", href: `#/devices/${encodeURIComponent(name)}` });
  const state = h("span", { class: "pill" });
  const about = h("p", { class: "quiet" });
  const error = h("p", { class: "bad error" });
  const line = svg("polyline");
  const spark = svg("svg", { class: "spark", viewBox: "0 0 100 24", preserveAspectRatio: "none", role: "img" }, line);
  const facts = h("p", null);
  put(link, h("div", { class: "top" }, h("h2", null, name), state), about, facts, error, spark);
  return {
    item: h("li", null, link),
    update(row) {
      const shown = row.state === "online" && row.tags_bad ? "degraded" : row.state;
      link.className = `card state-${shown}`;
      state.className = `pill ${shown === "online" ? "good" : ["offline", "demoted"].includes(shown) ? "bad" : "warn"}`;
      text(state, row.state);
      text(about, row.description || `${row.driver} ${row.address}`);
      text(facts, `${rate(row.rate_hz)} · value ${age(row.age_s)} old · ${row.tags} tags${row.tags_bad ? `, ${row.tags_bad} bad` : ""}`);
      text(error, row.last_error && row.state !== "online" ? row.last_error : "");
      error.title = row.last_error;
      const rates = row.rates.map((each) => each || 0);
      const top = Math.max(...rates, 0.1);
      line.setAttribute("points", rates.map((each, at) =>
        `${rates.length > 1 ? (at / (rates.length - 1)) * 100 : 100},${23 - (each / top) * 21}`).join(" "));
      spark.setAttribute("aria-label", `polls per second of the last minute, now ${rate(row.rate_hz)}`);
    },
  };
}

