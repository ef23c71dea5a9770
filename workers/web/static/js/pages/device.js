// One device: why it is bad in a sentence, and the chain behind it.

import { ask, every, may, query } from "../api.js";
import { h, pairs, put, say, set, table, text } from "../dom.js";
import { age, rate, time, value } from "../format.js";
import { askToWrite } from "../write.js";

const BROWSED = ["modbus-tcp", "enip"];  // devices that can be asked what they have, over a connection more

export function show(main, [name]) {
  const verdict = h("p", { class: "panel verdict" });
  const spoken = h("p", { class: "unseen", role: "status" });  // the verdict has ages in it: no voice says it each second
  const actions = h("div", { class: "row" });
  const chain = h("div", { class: "panel" });
  const tags = h("div", null);
  const groups = h("div", null);
  const transactions = h("div", null);
  const wire = h("div", null);
  put(main, h("h1", null, name), verdict, spoken, actions, h("h2", null, "How it is"), chain, h("h2", null, "Tags"), tags,
    h("h2", null, "Groups"), groups, h("h2", null, "Last transactions"), transactions,
    h("h2", null, "On the wire, byte for byte"), wire);

  async function act(action) {
    try {
      await ask(`devices/${encodeURIComponent(name)}/${action}`, {});
      say(`${name}: ${action} asked for`);
    } catch (error) { say(error); }
  }
  const pause = h("button", { type: "button", onclick: () => act("pause") }, "Pause");
  const resume = h("button", { type: "button", onclick: () => act("resume") }, "Resume");
  const probe = h("button", { type: "button", onclick: () => act("probe") }, "Probe now");
  const browse = h("a", { hidden: true }, "Browse what it has");
  put(actions, pause, resume, probe, h("a", { href: `#/tags?filter=${encodeURIComponent(`${name}.*`)}` }, "All its tags"), browse);
  pause.hidden = resume.hidden = probe.hidden = !may("operator");

  return every(1000, async () => {
    const told = await ask(`devices/${encodeURIComponent(name)}`);
    const page = await ask(`tags?filter=${encodeURIComponent(`${told.name}.*`)}&limit=100`);
    draw(told, { verdict, chain, groups, transactions, wire });
    browse.hidden = !may("engineer") || !BROWSED.includes(told.driver);
    browse.href = `#/add?${query({ address: told.configured.address, driver: told.driver, unit: told.told.unit, name: `${told.name}_2` })}`;
    text(spoken, `${told.name} is ${told.state}`);
    pause.disabled = told.state === "disabled";
    resume.disabled = told.state !== "disabled";
    probe.disabled = ["online", "disabled"].includes(told.state);
    if (!tags.contains(document.activeElement)) set(tags, tagTable(page));
  });
}

function tagTable(page) {
  return table(["Tag", ">Value", "Unit", "Quality", ">Age", "Actions"], page.tags.map((tag) => [
    tag.tag, h("span", { class: "value" }, value(tag.value)), tag.unit,
    h("span", { class: tag.good ? "good" : "bad" }, tag.reason), age(tag.age_s),
    [h("a", { href: `#/trends?tags=${encodeURIComponent(tag.tag)}`, "aria-label": `Trend of ${tag.tag}` }, "Trend"), " ",
      tag.writable && may("operator") && h("button", { type: "button", onclick: () => askToWrite(tag), "aria-label": `Write ${tag.tag}` }, "Write…")],
  ]), "Tags of the device");
}

function draw(device, places) {
  const told = device.told;
  text(places.verdict, device.verdict);
  places.verdict.classList.toggle("is-bad", !["online", "disabled"].includes(device.state));
  const link = told.connection || {};
  set(places.chain, pairs([
    ["State", device.state],
    ["Speaks", `${device.driver} at ${device.address}${told.unit === undefined ? "" : `, unit ${told.unit}`}`],
    ["Description", device.description],
    ["Worker", device.worker],
    ["Connection", [link.state, link.address, link.since_us && `since ${time(link.since_us)}`,
      link.attempts_failed && `${link.attempts_failed} attempts failed`,
      link.next_attempt_s != null && `next in ${age(link.next_attempt_s)}`, link.error].filter(Boolean).join(", ")],
    ["Last success", told.last_success_us ? `${time(told.last_success_us)} (${age(device.age_s)} old)` : "never"],
    ["Last error", device.last_error && `${device.last_error} (${age(device.last_error_age_s)} ago)`],
    ["Failures in a row", told.failures || ""],
    ["Demoted", told.demotions ? `${told.demotions} times${told.next_probe_s != null ? `, next probe in ${age(told.next_probe_s)}` : ""}` : ""],
    ["Asked for by", Object.entries(told.asked || {}).map(([what, [who, us]]) => `${what} by ${who} at ${time(us)}`).join(", ")],
    ["Polls", rate(device.rate_hz)],
    ["Counters", counts(told.counters)],
    ["Writes", counts(told.writes)],
    ["Details", counts(told.details)],
  ]));
  set(places.groups, table(["Group", "Quality", ">Period", ">Age", ">Cycle last", ">mean", ">longest", ">Late last", ">longest", ">Polls good", ">Skipped"],
    Object.entries(told.groups || {}).map(([group, each]) => [
      group, h("span", { class: each.quality === "good" ? "good" : "bad" }, each.quality, each.bad?.length ? `: ${each.bad.map(([tag, why]) => (why === each.quality ? tag : `${tag} ${why}`)).join(", ")}` : ""),
      age(each.period_s), age(each.age_s), age(each.cycle?.last_s), age(each.cycle?.mean_s), age(each.cycle?.longest_s),
      age(each.lateness?.last_s), age(each.lateness?.longest_s), `${each.cycles_good} of ${each.cycles}`, each.overruns]), "Groups"));
  set(places.transactions, table(["Time", "What", "Request", "Result", ">Took", "Remark"],
    [...(told.transactions || [])].reverse().map(([us, kind, request, result, took, remark]) => [
      time(us, false), kind, h("code", null, request), h("span", { class: result === "ok" ? "good" : "bad" }, result), age(took), remark]),
    "Last transactions"));
  if (places.wire.contains(document.activeElement) || !getSelection().isCollapsed) return;  // somebody reads or copies
  const entries = [...(told.wire || [])].reverse();
  set(places.wire, entries.length ? table(["Time", "Way", "It says", "Bytes", ">Length"], entries.map(([us, way, bytes, length, words]) => [
    time(us, false, 3), h("span", { class: "one" }, way === "sent" ? "→ sent" : "← received"), h("span", { class: "says" }, words), h("code", { class: "bytes" }, spaced(bytes, length)), length]),
  "On the wire") : h("p", { class: "quiet" }, "Nothing went over it since its worker began."));
}

function spaced(bytes, length) {
  const shown = bytes.slice(0, 128).replace(/(..)(?=.)/g, "$1 ");
  return length * 2 > 128 ? `${shown} …` : shown;
}

function counts(values) {
  return Object.entries(values || {}).filter(([, of]) => of === null || typeof of !== "object" || Object.keys(of).length).map(([name, of]) =>
    `${name} ${of !== null && typeof of === "object" ? `(${counts(of)})` : value(of)}`).join(", ");
}
