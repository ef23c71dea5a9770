// The gateway's own processes: workers, the feed, the stores.

import { ask, every, may } from "../api.js";
import { h, pairs, put, say, set, table } from "../dom.js";
import { age, bytes, time } from "../format.js";

export function show(main) {
  const about = h("div", { class: "panel" });
  const store = h("div", { class: "panel" });
  const outletTable = h("div", null), workers = h("div", null), simulators = h("div", null);
  put(main, h("h1", null, "System"), about, h("h2", null, "Feed and stores"), store, outletTable, h("h2", null, "Workers"), workers, simulators);
  return every(1000, async () => {
    const status = await ask("status");
    set(about, pairs([["Gateway", status.name], ["Id", status.gateway], ["Version", status.version], ["Up", age(status.up_s)],
      ["Configuration", `generation ${status.generation}`], ["Serves", status.listeners.map((each) => `${each.name} ${each.address}`).join(", ")]]));
    const of = (role) => status.workers.filter((each) => each.role === role);
    const feeds = of("feed").map((each) => ["Feed", `${each.state}${each.extra.publish ? `, ${each.extra.publish}` : ""}${each.overdue.length ? `; waits for ${each.overdue.join(", ")}` : ""}`]);
    const outlets = status.workers.filter((each) => each.extra.behind_s !== undefined);
    const stores = of("historian").flatMap((each) => [
      ["Store", each.extra.store], ["State", `${each.extra.store_state || each.state}${each.extra.store_error ? `: ${each.extra.store_error}` : ""}`],
      ["Behind", bytes(each.extra.behind_bytes)], ["Stored up to", time(each.extra.stored_us)], ["Size", bytes(each.extra.store_bytes)],
      ["Oldest value", each.extra.oldest_us > 0 ? time(each.extra.oldest_us) : "–"],
      ["Not stored", each.extra.gaps === undefined ? "" : each.extra.gaps ? h("span", { class: "bad" }, `${each.extra.gaps} gaps, ${each.extra.gap_samples} samples`) : "nothing"]]);
    set(outletTable, outlets.length ? [h("h2", null, "Outlets"), table(["Outlet", "To", "State", ">Behind", ">Sent", ">Refused", ">Lost", "Trouble"], outlets.map((each) => [
      each.name, each.extra.place, each.extra.state || each.state, `${bytes(each.extra.behind_bytes)}, ${age(each.extra.behind_s)}`, each.extra.sent,
      each.extra.refused, h("span", { class: each.extra.lost && "bad" }, each.extra.lost), each.extra.error]), "Outlets")] : "");
    set(store, pairs([...feeds, ...(stores.length ? stores : [["Store", "no history is kept"]])]));
    set(workers, table(["Worker", "State", ">pid", ">Up", ">Beat", ">Restarts", "Waits for"], status.workers.map((each) => [
      each.name, h("span", { class: each.state === "running" ? "good" : "bad" }, each.state), each.pid || "–", age(each.up_s), age(each.beat_age_s), each.restarts,
      [...each.overdue, each.restart_storm && "restarts again and again"].filter(Boolean).join("; ")]), "Workers"));
    if (simulators.contains(document.activeElement)) return;
    const { simulators: found } = await ask("simulators");
    set(simulators, found.length ? [h("h2", null, "Simulators"), table(["Simulator", "Requests", "Faults", "Give it"], found.map((each) => [
      each.name, Object.entries(each.requests).map(([unit, count]) => `unit ${unit}: ${count}`).join(", "),
      h("span", { class: each.faults.length && "bad" }, each.faults.join(", ") || "none"),
      may("engineer") && FAULTS.map(([title, order]) => [h("button", { type: "button", "aria-label": `${each.name}: ${title}`, onclick: () => tell(each.name, order) }, title), " "])]),
    "Simulators")] : "");
  });
}

const FAULTS = [["Silent", "fault silent"], ["Late", "fault late:0.5"], ["Gone for 10 s", "die 10"], ["Well", "clear"]];

async function tell(name, order) {
  try {
    await ask(`simulators/${encodeURIComponent(name)}`, { order });
    say(`${name}: ${order}`);
  } catch (error) { say(error); }
  document.activeElement.blur();
}
