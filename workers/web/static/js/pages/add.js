// The first five minutes: find a device, test it, pick its tags, write the file, put it in force.

import { ask, may } from "../api.js";
import { h, put, set, text } from "../dom.js";
import { applyReload } from "../reload.js";

export function show(main, _rest, parameters) {
  let found = null;
  const picked = new Set();
  const address = h("input", { id: "address", placeholder: "10.0.0.7:502 or 10.0.0.5", required: true });
  const driver = h("select", { id: "driver" }, [["", "by its port"], ["modbus-tcp", "Modbus TCP"], ["enip", "EtherNet/IP"], ["modbus-rtu", "Modbus RTU"]]
    .map(([value, title]) => h("option", { value }, title)));
  const unit = h("input", { id: "unit", value: "1", size: 3, inputmode: "numeric" });
  const where = h("input", { id: "where", placeholder: "40001-40100, or a part of the names" });
  const name = h("input", { id: "name", placeholder: "boiler_2", pattern: "[A-Za-z_][A-Za-z0-9_]{0,39}" });
  const period = h("input", { id: "period", value: "1s", size: 5 });
  const keep = h("input", { type: "checkbox", id: "keep", checked: true });
  const answers = h("div", { role: "status" }), test = h("div", { role: "status" });
  const list = h("div", { class: "found", hidden: true }), filter = h("input", { type: "search", id: "filter", placeholder: "filter" });
  const preview = h("textarea", { id: "toml", "aria-label": "The configuration that will be written", spellcheck: "false" });
  const outcome = h("div", { role: "status" });

  const step = (title, ...parts) => h("li", null, h("h2", null, title), ...parts);
  const button = (title, act, kind = "") => h("button", { type: "button", class: kind, onclick: async (event) => {
    const pressed = event.currentTarget;
    pressed.disabled = true;
    try { await act(); } finally { pressed.disabled = false; }
  } }, title);
  put(main, h("h1", null, "Add a device"), h("ol", { class: "steps" },
    step("Where is it?", h("div", { class: "row" }, h("label", { for: "address" }, "Address ", address), h("label", { for: "driver" }, "Speaks ", driver),
      h("label", { for: "unit" }, "Unit ", unit), button("Look for EtherNet/IP", discover), button("Look for Modbus units", scan)), answers),
    step("What does it have?", h("div", { class: "row" }, h("label", { for: "where" }, "Only ", where), button("Test and read its tags", browse, "main")), test),
    step("Which tags?", h("div", { class: "row" }, h("label", { for: "filter" }, "Find ", filter), button("All shown", () => mark(true)), button("None", () => mark(false))), list),
    step("What is it called?", h("div", { class: "row" }, h("label", { for: "name" }, "Name ", name), h("label", { for: "period" }, "Read every ", period),
      h("label", { for: "keep" }, keep, "record its history")), preview),
    step("Write it down", h("div", { class: "row" }, button("Check", check), button("Save and put in force", save, "main")), outcome)));

  async function tried(place, act) {
    set(place, "asking …");
    try { await act(); } catch (error) { set(place, h("p", { class: "bad" }, String(error))); }
  }

  async function discover() {
    const given = address.value.trim() || "255.255.255.255";
    await tried(answers, async () => {
      const told = await ask("discover", { address: given, broadcast: /255$/.test(given) });
      set(answers, told.devices.length ? h("div", { class: "row" }, told.devices.map((each) =>
        h("button", { type: "button", onclick: () => { address.value = each.address; driver.value = "enip"; } }, `${each.product_name} at ${each.address}`)))
        : h("p", null, "Nobody answers List Identity there."));
    });
  }

  async function scan() {
    await tried(answers, async () => {
      const units = await ask("scan", { address: address.value.trim(), units: "1-16" });
      set(answers, units.length ? h("div", { class: "row" }, units.map((each) =>
        h("button", { type: "button", onclick: () => { unit.value = each.unit; } }, `unit ${each.unit} ${each.identity || each.answer || ""}`)))
        : h("p", null, "No unit answers."));
    });
  }

  async function browse() {
    await tried(test, async () => {
      found = await ask("browse", { address: address.value.trim(), driver: driver.value, unit: Number(unit.value) || 1, where: where.value.trim() });
      picked.clear();
      found.tags.slice(0, 20).forEach((tag) => picked.add(tag.name));
      set(test, h("p", { class: "good" }, `It answers: ${found.tags.length} tags${found.left_out.length ? `, ${found.left_out.length} left out` : ""}.`));
      draw();
    });
  }

  function shown() {
    const word = filter.value.toLowerCase();
    return found ? found.tags.filter((tag) => `${tag.name} ${tag.address} ${tag.description || ""}`.toLowerCase().includes(word)) : [];
  }

  function mark(all) {
    for (const tag of shown()) if (all) picked.add(tag.name); else picked.delete(tag.name);
    draw();
  }

  function draw() {
    list.hidden = !found;
    set(list, shown().slice(0, 500).map((tag) => h("div", null, h("label", null,
      h("input", { type: "checkbox", checked: picked.has(tag.name), onchange: (event) => { if (event.target.checked) picked.add(tag.name); else picked.delete(tag.name); write(); } }),
      h("code", null, tag.name), ` ${tag.address} ${tag.type || ""} `, h("span", { class: "quiet" }, tag.description || "")))));
    write();
  }

  function write() {
    if (!found) return;
    preview.value = toml(found, { name: name.value || "device", address: found.address, unit: unit.value, period: period.value, keep: keep.checked, picked });
  }

  const file = () => `${(name.value || "device").toLowerCase().replace(/[^a-z0-9_-]/g, "_").replace(/^_+/, "")}.toml`;

  async function check() {
    await tried(outcome, async () => {
      const told = await ask("configuration/check", { name: file(), text: preview.value });
      set(outcome, told.problems.length ? h("ul", { class: "bad" }, told.problems.map((each) => h("li", null, each)))
        : [h("p", { class: "good" }, "It is well."), h("pre", null, told.summary.join("\n"))]);
    });
  }

  async function save() {
    await tried(outcome, async () => {
      const told = await ask("configuration/check", { name: file(), text: preview.value });
      await ask(`configuration/files/${file()}`, { text: preview.value, digest: told.digest }, "PUT");
      const done = await applyReload();
      set(outcome, done ? h("p", { class: "good" }, "In force. ", h("a", { href: `#/devices/${encodeURIComponent(name.value || "device")}` }, "Look at it"))
        : h("p", null, `Saved as ${file()}; not in force yet.`));
    });
  }

  for (const input of [address, driver, unit, name]) if (parameters.get(input.id)) input.value = parameters.get(input.id);
  for (const input of [name, period, keep, address, unit]) input.addEventListener("input", write);
  filter.oninput = draw;
  text(answers, may("engineer") ? "" : "an engineer's");
}

const text_ = JSON.stringify;  // a string of JSON is one of TOML

export function toml(found, chosen) {
  const serial = chosen.address.startsWith("/") || chosen.address.startsWith("rtu-over-tcp://");
  const lines = [];
  if (serial) lines.push(`[line.${chosen.name}_line]`, `port = ${text_(chosen.address)}`, "");
  lines.push(`[device.${chosen.name}]`, `driver = ${text_(found.driver)}`);
  lines.push(serial ? `line = ${text_(`${chosen.name}_line`)}` : `address = ${text_(chosen.address)}`);
  if (found.driver.startsWith("modbus") && chosen.unit !== "1") lines.push(`unit = ${Number(chosen.unit)}`);
  lines.push("", `[[device.${chosen.name}.group]]`, 'name = "all"', `period = ${text_(chosen.period)}`);
  if (chosen.keep) lines.push("history = true");
  lines.push("tags = [");
  for (const tag of found.tags) {
    if (!chosen.picked.has(tag.name)) continue;
    lines.push(`    { ${Object.entries(tag).map(([key, value]) => `${key} = ${typeof value === "string" ? text_(value) : String(value)}`).join(", ")} },`);
  }
  lines.push("]", "");
  return lines.join("\n");
}
