// Putting the saved configuration in force: the plan first, then its confirmation.

import { ask } from "./api.js";
import { dialog, h, set } from "./dom.js";

export async function applyReload() {
  const planned = await ask("configuration/reload", {});
  return dialog("Put the configuration in force", (done) => {
    const body = h("div", null);
    const lines = [];
    for (const kind of ["devices", "listeners", "lines", "routes", "workers"]) {
      for (const [how, names] of Object.entries(planned.plan[kind])) if (names.length) lines.push(h("li", null, `${kind} ${how}: ${names.join(", ")}`));
    }
    if (planned.plan.sections.length) lines.push(h("li", null, `sections changed: ${planned.plan.sections.join(", ")}`));
    const confirm = async (event) => {
      event.currentTarget.disabled = true;
      try {
        await ask("configuration/reload", { confirm: planned.digest });
        done(true);
      } catch (error) {
        set(body, h("p", { class: "bad", role: "alert" }, String(error)), h("button", { type: "button", onclick: () => done(false) }, "Close"));
      }
    };
    set(body, lines.length ? h("ul", null, lines) : h("p", null, "Nothing changes."),
      h("div", { class: "row" }, h("button", { class: "main", type: "button", onclick: confirm }, "Confirm"),
        h("button", { type: "button", onclick: () => done(false) }, "Cancel")));
    return body;
  });
}
