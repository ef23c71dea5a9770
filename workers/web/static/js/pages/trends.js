// Trends: what is stored and what comes, in one picture; gaps and bad spans are drawn as such.

import { ask, live, query } from "../api.js";
import { h, put, say, set } from "../dom.js";
import { time, value, zone } from "../format.js";

const SPANS = [[300, "5 min"], [3600, "1 h"], [28800, "8 h"], [86400, "1 d"], [604800, "7 d"]];
const COLOURS = ["#0b8a83", "#c2410c", "#6d28d9", "#b91c5c", "#1d6fd8", "#7a7a00", "#0f7b3e", "#8a4b08"];
const ON_DARK = ["#4fc4bb", "#ff9d66", "#b79bff", "#ff8fb8", "#7db4ff", "#d6d65a", "#6fd08c", "#e0a86a"];
const POINTS = 700;  // buckets across the picture
const RAW_S = 900;  // spans up to this are shown sample by sample
const MOST = 20000;  // live points kept of a tag

const colours = () => (document.documentElement.dataset.theme === "dark" ? ON_DARK : COLOURS);

export function show(main, _rest, parameters) {
  let tags = (parameters.get("tags") || localStorage.getItem("trend") || "").split(",").filter(Boolean);
  let span = Number(localStorage.getItem("span")) || 300, range = null;  // range: [from, to] in seconds, null follows
  let plot = null, endLive = () => {}, timer = 0, ended = false, asked = 0, dirty = false;
  const series = new Map();

  const choose = h("input", { id: "choose", list: "known", placeholder: "add a tag", autocomplete: "off" });
  const known = h("datalist", { id: "known" });
  const chips = h("div", { class: "chips" });
  const chart = h("div", { class: "chart", tabindex: "0", role: "img", "aria-label": "Chart; arrow keys move it, + and - zoom, Home follows" });
  const note = h("p", { class: "quiet", role: "status" });
  const follow = h("button", { type: "button", onclick: () => { range = null; reload(); } }, "Follow");
  const spans = SPANS.map(([seconds, title]) => h("button", { type: "button", onclick: () => { span = seconds; localStorage.setItem("span", seconds); range = null; reload(); } }, title));
  put(main, h("div", { class: "row" }, h("h1", null, "Trends"), h("label", { for: "choose" }, "Tag ", choose), known,
    spans,
    follow, h("button", { type: "button", onclick: csv }, "CSV")), chips, chart, note,
    h("p", { class: "quiet" }, h("span", { class: "swatch spoilt" }), " bad  ", h("span", { class: "swatch missing" }), " not recorded · drag to zoom; arrow keys, + and −, Home to follow"));

  const limits = () => { const now = Date.now() / 1000; return range || [now - span, now]; };

  async function stored(tag) {
    const [from, to] = limits();
    const question = { tag, since_us: Math.round(from * 1e6), until_us: Math.round(to * 1e6) };
    const raw = to - from <= RAW_S;
    if (!raw) Object.assign(question, { aggregate: "buckets", step_us: Math.max(1, Math.round(((to - from) * 1e6) / POINTS)) });
    const found = { times: [], values: [], bad: [], gaps: [] };
    const { tags: alike } = await ask(`tags?${query({ filter: tag, fields: "tag,history", limit: 1000 })}`);
    if (!alike.some((each) => each.history && each.tag.toLowerCase() === tag.toLowerCase())) return found;
    for (let pages = 0; pages < 20; pages += 1) {
      const told = await ask(`history?${query(question)}`);
      for (const row of told.rows) {
        const [us, low, mean] = row;
        const good = raw ? typeof low === "number" || typeof low === "boolean" : mean !== null;
        add(found, us / 1e6, good ? Number(raw ? low : mean) : null, raw ? (row[2] & 255) >= 16 : row[4] > 0 && !good);
      }
      for (const [since, until] of told.gaps || []) found.gaps.push([since / 1e6, until / 1e6]);
      if (told.next_us === null) break;
      question.since_us = told.next_us;
    }
    for (const [since, until] of found.gaps) {  // what was not recorded is no line
      const at = found.times.findIndex((time_) => time_ > since);
      if (at > 0 && found.times[at] >= until - 0.001) { found.times.splice(at, 0, (since + found.times[at]) / 2); found.values.splice(at, 0, null); }
    }
    return found;
  }

  function add(to, at, number, bad) {
    if (to.times.length && at <= to.times.at(-1)) return;
    const open = to.bad.at(-1);
    if (open && open[1] === null) open[1] = at;
    if (number === null && bad) to.bad.push([at, null]);
    to.times.push(at);
    to.values.push(number);
    if (to.times.length > MOST) { to.times.splice(0, 1000); to.values.splice(0, 1000); }
  }

  async function reload() {
    const turn = ++asked;
    follow.disabled = range === null;
    spans.forEach((button, at) => button.setAttribute("aria-pressed", range === null && SPANS[at][0] === span));
    const words = [];
    await Promise.all(tags.map(async (tag) => {
      let found = { times: [], values: [], bad: [], gaps: [] };
      try { found = await stored(tag); } catch (error) { words.push(`${tag}: ${error}`); }
      if (!found.times.length) words.push(`${tag}: nothing recorded, live only`);
      if (turn !== asked) return;
      const old = series.get(tag);
      const newest = found.times.at(-1) || 0;
      if (old && range === null) old.times.forEach((at, index) => { if (at > newest) add(found, at, old.values[index], false); });
      series.set(tag, found);
    }));
    if (turn !== asked || ended) return;
    set(note, words.join("; "));
    make();
  }

  function data() {
    const [from] = limits();
    const tables = tags.map((tag) => {
      const { times, values } = series.get(tag) || { times: [], values: [] };
      return times.length ? [times, values] : [[from], [null]];
    });
    return tables.length ? uPlot.join(tables, tables.map(() => [2, 2])) : [[], []];
  }

  function make() {
    if (plot) plot.destroy();
    chart.replaceChildren();
    plot = null;
    if (!tags.length) { put(chart, h("p", { class: "quiet" }, "Choose a tag above.")); return; }
    const ink = getComputedStyle(document.body);
    const clock = (of, ats) => { const wide = of.scales.x.max - of.scales.x.min; return ats.map((at) => { const full = time(at * 1e6); return wide > 172800 ? full.slice(5, 16) : full.slice(11, wide > 1200 ? 16 : 19); }); };
    const axis = { stroke: ink.getPropertyValue("--quiet"), grid: { stroke: ink.getPropertyValue("--line"), width: 1 } };
    plot = new uPlot({
      width: Math.max(280, chart.clientWidth - 18), height: Math.max(300, Math.min(560, innerHeight - 330)),
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), zone()),
      scales: { x: { time: true, range: () => limits() } },
      series: [{ label: "Time", value: (of, at, _series, index) => (index == null ? "newest" : time(at * 1e6)) },
        ...tags.map((tag, at) => ({ label: tag, stroke: colours()[at], width: 1.6, spanGaps: false,
          value: (of, number, _series, index) => worth(index == null ? newest(tag) : number) }))],
      axes: [{ ...axis, values: clock, space: 80 }, { ...axis, size: 64 }],
      cursor: { drag: { x: true, y: false } },
      hooks: {
        drawClear: [drawBad],
        setSelect: [(of) => {
          if (of.select.width < 4) return;
          range = [of.posToVal(of.select.left, "x"), of.posToVal(of.select.left + of.select.width, "x")];
          reload();
        }],
      },
    }, data(), chart);
    describe();
  }

  const worth = (number) => (number == null ? "no value" : value(number));
  const newest = (tag) => series.get(tag)?.values.at(-1);

  function describe() {
    const all = tags.map((tag) => series.get(tag)).filter(Boolean);
    const count = (of) => all.reduce((sum, each) => sum + of(each).length, 0);
    chart.setAttribute("aria-label", `Chart of ${tags.length} tags, ${count((each) => each.times)} points, ${count((each) => each.bad)} bad and `
      + `${count((each) => each.gaps || [])} missing spans; arrow keys move it, + and - zoom, Home follows`);
  }

  function drawBad(of) {
    const { left, top, width, height } = of.bbox;
    of.ctx.save();
    for (const tag of tags) {
      const { bad, gaps } = series.get(tag) || { bad: [], gaps: [] };
      const spans = [...bad.map((span) => [...span, "rgba(200, 40, 50, .18)"]), ...gaps.map((span) => [...span, "rgba(125, 125, 125, .28)"])];
      for (const [from, to, colour] of spans) {
        of.ctx.fillStyle = colour;
        const one = Math.max(left, of.valToPos(from, "x", true));
        const other = Math.min(left + width, to === null ? left + width : of.valToPos(to, "x", true));
        if (other > one) of.ctx.fillRect(one, top, Math.max(1, other - one), height);
      }
    }
    of.ctx.restore();
  }

  function choices() {
    localStorage.setItem("trend", tags.join(","));
    remember(tags);
    set(chips, tags.map((tag, at) => {
      const chip = h("button", { type: "button", "aria-label": `Remove ${tag}`, onclick: () => { tags = tags.filter((each) => each !== tag); changed(); } }, `${tag} ✕`);
      chip.style.borderLeftColor = colours()[at];
      return chip;
    }));
  }

  function changed() {
    choices();
    endLive();
    endLive = () => {};
    if (tags.length) {
      endLive = live(tags, (tag, us, of, quality) => {
        const name = tags.find((each) => each.toLowerCase() === tag.toLowerCase());
        const to = name && series.get(name);
        if (!to) return;
        const good = typeof of === "number" || typeof of === "boolean";
        add(to, us / 1e6, good ? Number(of) : null, (quality & 255) >= 16);
        dirty = true;
      }, () => { if (range === null) reload(); });
    }
    reload();
  }

  choose.oninput = async () => {
    const word = choose.value.trim();
    if (!word) return;
    const { tags: found } = await ask(`tags?${query({ filter: word, limit: 30, fields: "tag" })}`).catch(() => ({ tags: [] }));
    set(known, found.map((each) => h("option", { value: each.tag })));
    if (found.some((each) => each.tag === word)) pick(word);
  };
  choose.onchange = () => pick(choose.value.trim());
  async function pick(name) {
    if (!name || tags.includes(name)) return;
    if (tags.length >= COLOURS.length) { say(`up to ${COLOURS.length} tags`); return; }
    try { await ask(`read?${query({ tags: name })}`); } catch { return; }
    if (tags.includes(name)) return;
    tags.push(name);
    choose.value = "";
    changed();
  }

  chart.onkeydown = (event) => {
    const [from, to] = limits(), wide = to - from;
    const moves = { ArrowLeft: [-.2, -.2], ArrowRight: [.2, .2], "+": [.2, -.2], "-": [-.3, .3] };
    if (event.key === "Home") range = null;
    else if (moves[event.key]) range = [from + moves[event.key][0] * wide, to + moves[event.key][1] * wide];
    else return;
    event.preventDefault();
    reload();
  };

  function csv() {
    const [from, to] = limits();
    const [times, ...columns] = data();
    const lines = [["time", ...tags].map(cell).join(",")];
    times.forEach((at, index) => {
      if (at >= from && at <= to) lines.push([new Date(at * 1000).toISOString(), ...columns.map((column) => column[index] ?? "")].join(","));
    });
    const link = h("a", { href: URL.createObjectURL(new Blob([lines.join("\r\n")], { type: "text/csv" })), download: "trend.csv" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  const resized = () => { if (plot) { choices(); make(); } };
  addEventListener("resize", resized);
  addEventListener("themed", resized);
  library().then(() => {
    if (ended) return;
    changed();
    timer = setInterval(() => {
      if (!plot || document.hidden || (!dirty && range !== null)) return;
      dirty = false;
      plot.setData(data());
      describe();
    }, 500);
  });
  return () => {
    ended = true;
    endLive();
    clearInterval(timer);
    removeEventListener("resize", resized);
    removeEventListener("themed", resized);
    if (plot) plot.destroy();
  };
}

function cell(name) {
  return `"${name.replaceAll('"', '""')}"`;
}

function remember(tags) {
  history.replaceState(null, "", `#/trends?tags=${encodeURIComponent(tags.join(","))}`);
}

let loading = null;
function library() {
  loading ||= new Promise((resolve, reject) => {
    document.head.append(h("link", { rel: "stylesheet", href: "/uplot/uPlot.min.css" }),
      h("script", { src: "/uplot/uPlot.iife.min.js", onload: resolve, onerror: reject }));
  });
  return loading;
}
