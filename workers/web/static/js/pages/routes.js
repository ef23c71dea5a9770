// Which route paths lead where, who may use them, and how that goes.

import { ask, every } from "../api.js";
import { h, put, set, table } from "../dom.js";

export function show(main) {
  const place = h("div", null);
  let before = null;
  put(main, h("h1", null, "Routes"), h("p", { class: "quiet" }, "Requests of EtherNet/IP clients whose route path begins so are passed on to the device."), place);
  return every(1000, async () => {
    const { routes } = await ask("routes");
    const now = performance.now();
    const rows = routes.map((route) => {
      const old = before && before.requests.get(route.path);
      const rate = old === undefined || old === null ? "–" : `${((route.requests - old) / ((now - before.at) / 1000)).toFixed(0)}/s`;
      const failures = Object.entries(route.failures || {}).map(([what, count]) => `${what} ${count}`).join(", ");
      return [h("code", null, route.path), h("a", { href: `#/devices/${encodeURIComponent(route.device)}` }, route.device),
        h("span", { class: route.state === "online" ? "good" : "bad" }, route.state), (route.sources || []).join(", ") || "everybody",
        [route.read_only && "read only", (route.classes || []).length && `classes ${route.classes.join(", ")}`].filter(Boolean).join(", ") || "everything",
        route.requests ?? 0, rate, `${route.outstanding ?? 0} of ${route.limit ?? 64}`, h("span", { class: failures && "bad" }, failures || "none")];
    });
    before = { at: now, requests: new Map(routes.map((route) => [route.path, route.requests])) };
    set(place, rows.length ? table(["Path", "Device", "State", "From", "May", ">Requests", ">Rate", ">Under way", "Failures"], rows, "Routes")
      : h("p", null, "No routes are configured: [[route]] in the configuration."));
  });
}
