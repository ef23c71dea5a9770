// The configuration's files: seen, changed, checked, saved, put in force.

import { ask } from "../api.js";
import { h, put, say, set } from "../dom.js";
import { applyReload } from "../reload.js";

export function show(main) {
  const names = h("select", { id: "file" });
  const editor = h("textarea", { class: "tall", "aria-label": "Text of the file", spellcheck: "false" });
  const outcome = h("div", { role: "status" });
  let files = [];
  const button = (title, act, kind = "") => h("button", { type: "button", class: kind, onclick: () => act().catch((error) => set(outcome, h("p", { class: "bad" }, String(error)))) }, title);
  put(main, h("h1", null, "Configuration"), h("div", { class: "row" }, h("label", { for: "file" }, "File ", names),
    button("Check", check), button("Save", save, "main"), button("Put in force …", reload)), editor, outcome);

  async function load(chosen) {
    files = (await ask("configuration")).files;
    set(names, files.map((file) => h("option", { value: file.name }, file.path)));
    if (chosen) names.value = chosen;
    choose();
  }

  function choose() {
    const file = files.find((each) => each.name === names.value);
    editor.value = file ? file.text : "";
    set(outcome);
  }

  async function check() {
    const told = await ask("configuration/check", { name: names.value, text: editor.value });
    set(outcome, told.problems.length ? h("ul", { class: "bad" }, told.problems.map((each) => h("li", null, each)))
      : [h("p", { class: "good" }, "It is well."), h("pre", null, told.summary.join("\n"))],
    told.diff ? h("pre", null, told.diff.split("\n").map((line) =>
      h("span", { class: line.startsWith("+") ? "good" : line.startsWith("-") ? "bad" : "" }, line, "\n"))) : h("p", null, "Nothing is changed."));
    return told;
  }

  async function save() {
    const told = await check();
    if (told.problems.length) return;
    const file = files.find((each) => each.name === names.value);
    await ask(`configuration/files/${names.value}`, { text: editor.value, digest: file.digest }, "PUT");
    await load(names.value);
    say("Saved; not in force yet.");
  }

  async function reload() {
    if (await applyReload()) say("In force.");
  }

  names.onchange = choose;
  load().catch((error) => set(outcome, h("p", { class: "bad" }, String(error))));
}
