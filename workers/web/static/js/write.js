// Writing a tag: limits, a second look, and what came of it.

import { ask } from "./api.js";
import { dialog, h, put, set, text } from "./dom.js";
import { value } from "./format.js";

export async function askToWrite(tag) {
  return dialog(`Write ${tag.tag}`, (done) => {
    const limits = [tag.minimum != null && `at least ${tag.minimum}`, tag.maximum != null && `at most ${tag.maximum}`].filter(Boolean);
    const input = h("input", { id: "new-value", required: true, autocomplete: "off", value: Array.isArray(tag.value) ? tag.value.join(",") : value(tag.value).replace("–", "") });
    const body = h("div", null);
    const wrong = h("p", { class: "bad", role: "alert" });

    function first() {
      set(body, h("form", { onsubmit: (event) => { event.preventDefault(); check(); } },
        h("p", null, "Now ", h("strong", null, value(tag.value)), ` ${tag.unit} (${tag.reason}). ${tag.type}${tag.length > 1 ? `, ${tag.length} elements by comma` : ""}`,
          limits.length ? `, ${limits.join(", ")}` : ", no limits"),
        h("label", { for: "new-value" }, "New value ", input, tag.unit), wrong,
        h("div", { class: "row" }, h("button", { class: "main" }, "Next…"), h("button", { type: "button", onclick: () => done() }, "Cancel"))));
      input.select();
    }
    function check() {
      const number = Number(input.value);
      const outside = input.value !== "" && !Number.isNaN(number) && tag.length === 1
        && ((tag.minimum != null && number < tag.minimum) || (tag.maximum != null && number > tag.maximum));
      text(wrong, outside ? `expected ${limits.join(", ")}` : "");
      if (!outside) confirm();
    }
    function confirm() {
      const write = h("button", { class: "danger", type: "button", onclick: () => send(write) }, "Write it");
      set(body, h("p", null, "Write ", h("strong", null, `${input.value} ${tag.unit}`), " to ", h("strong", null, tag.tag),
        `, which is ${value(tag.value)} ${tag.unit} now? It goes to the device at once.`),
        h("div", { class: "row" }, write, h("button", { type: "button", onclick: first }, "Back"),
          h("button", { type: "button", onclick: () => done() }, "Cancel")));
      write.focus();
    }
    async function send(button) {
      button.disabled = true;
      const result = h("p", { role: "status" });
      try {
        const [came] = (await ask("write", { writes: [[tag.tag, input.value]] })).writes;
        put(result, h("strong", { class: came.ok ? "good" : "bad" }, came.outcome),
          came.ok ? `: was ${value(came.was)}, is ${value(came.now.value)} ${tag.unit}` : `: ${came.error || came.status_text || ""}`);
      } catch (error) { put(result, h("strong", { class: "bad" }, "failed"), `: ${error}`); }
      set(body, result, h("div", { class: "row" }, h("button", { class: "main", type: "button", onclick: () => done(true) }, "Close")));
      body.querySelector("button").focus();
    }
    first();
    return body;
  });
}
