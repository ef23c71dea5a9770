// What happened, and who wrote what.

import { ask, every, may } from "../api.js";
import { h, put, set, table } from "../dom.js";
import { moment, value } from "../format.js";

export function show(main) {
  const kind = h("select", { id: "kind" }, ["all", "device", "worker", "feed", "user", "gateway", "control"].map((name) => h("option", null, name)));
  const events = h("div", null);
  const audit = h("div", null);
  put(main, h("div", { class: "row" }, h("h1", null, "Events"), h("label", { for: "kind" }, "Show ", kind)), events,
    h("h2", null, "Writes"), audit);
  return every(2000, async () => {
    const told = await ask("events?limit=500");
    set(events, table(["Time", "Kind", "Name", "What", "Detail", "Who"], told.events.filter((event) => kind.value === "all" || event.kind === kind.value)
      .map((event) => [moment(event.time_us), event.kind, event.kind === "device" ? h("a", { href: `#/devices/${encodeURIComponent(event.name)}` }, event.name) : event.name,
        event.what, event.detail, event.who]), "Events"));
    if (!may("engineer")) {
      set(audit, h("p", { class: "quiet" }, "The audit of writes is for engineers."));
      return;
    }
    const { records } = await ask("audit?limit=200");
    set(audit, table(["Time", "Way", "User", "From", "Tag", ">Was", ">Written", "Outcome", "Why"], records.map((record) => [
      moment(record.time_us), record.way, record.user, record.address, `${record.tag}${record.first ? `[${record.first}]` : ""}`, written(record.old), written(record.new),
      h("span", { class: record.outcome === "done" ? "good" : "bad" }, record.outcome), record.why]), "Attempted writes"));
  });
}

// What was written, or stood there before: the audit has lists, also of one.
function written(values) {
  return value(Array.isArray(values) && values.length === 1 ? values[0] : values);
}
