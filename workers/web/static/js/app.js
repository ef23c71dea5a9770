// The page's frame: which page is shown, who is logged in, light or dark, whose time zone.

import { ask, may, session, whoAmI } from "./api.js";
import { dialog, h, say, set, text } from "./dom.js";
import { HERE } from "./format.js";

const PAGES = [  // path, title, module, role it needs
  ["", "Overview", "overview", "viewer"],
  ["tags", "Tags", "tags", "viewer"],
  ["trends", "Trends", "trends", "viewer"],
  ["routes", "Routes", "routes", "viewer"],
  ["events", "Events", "events", "viewer"],
  ["system", "System", "system", "viewer"],
  ["add", "Add a device", "add", "engineer"],
  ["configuration", "Configuration", "configuration", "engineer"],
  ["devices", "", "device", "viewer"],
];
const main = document.getElementById("main");
let leave = () => {};
let shown = 0;

async function show() {
  const [path, ...rest] = location.hash.replace(/^#\/?/, "").split("?")[0].split("/");
  const page = PAGES.find(([name]) => name === path) || PAGES[0];
  leave();
  leave = () => {};
  const turn = ++shown;
  navigation(page[0]);
  document.title = `${page[1] || decoded(rest[0] || "")} – ${session.name || "cpppod"}`;
  if (session.role === "none") {
    set(main, h("h1", null, "Please log in"), h("p", null, "This gateway has users."),
      h("button", { class: "main", onclick: logIn }, "Log in"));
    return;
  }
  if (!may(page[3])) {
    set(main, h("h1", null, page[1]), h("p", null, `This page is for the role ${page[3]}; you are ${session.role}. `,
      "Log in with a token of that role: ", h("code", null, `cpppoctl web token --role ${page[3]}`)),
      h("button", { class: "main", onclick: logIn }, "Log in"));
    return;
  }
  const module = await import(`./pages/${page[2]}.js`);
  if (turn !== shown) return;
  main.replaceChildren();
  leave = module.show(main, rest.map(decoded),
    new URLSearchParams(location.hash.split("?")[1] || "")) || (() => {});
  if (show.moved) main.focus({ preventScroll: true });
  show.moved = true;
}

// A part of the address as it was meant; one that is no text stays as it is.
function decoded(part) {
  try { return decodeURIComponent(part); } catch { return part; }
}

function navigation(current) {
  const here = current === "devices" ? "" : current;
  set(document.getElementById("nav"), PAGES.filter(([, title, , role]) => title && may(role))
    .map(([name, title]) => h("li", null,
      h("a", { href: `#/${name}`, "aria-current": name === here && "page" }, title))));
  document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  text(document.getElementById("who"), session.user === "nobody" ? `${session.role} · log in`
    : `${session.user} · ${session.role}`);
  text(document.getElementById("site"), session.name || "cpppod");
}

async function logIn() {
  if (session.csrf) {
    await ask("session", undefined, "DELETE");
    await begin();
    return;
  }
  await dialog("Log in", (done) => {
    const user = h("input", { autocomplete: "username", id: "user", name: "user" });
    const password = h("input", { type: "password", autocomplete: "current-password", id: "password", required: true });
    const wrong = h("p", { class: "bad", role: "alert" });
    const send = async (event) => {
      event.preventDefault();
      try {
        await ask("session", user.value ? { user: user.value, password: password.value } : { token: password.value });
        done(true);
        await begin();
      } catch (error) { text(wrong, error); }
    };
    return h("form", { onsubmit: send },
      h("p", { class: "quiet" }, session.users ? "Your name and password; or no name and a token."
        : "A token from: cpppoctl web token --role operator"),
      session.users && h("label", { for: "user" }, "Name ", user),
      h("label", { for: "password" }, session.users ? "Password or token " : "Token ", password), wrong,
      h("div", { class: "row" }, h("button", { class: "main" }, "Log in"),
        h("button", { type: "button", onclick: () => done() }, "Cancel")));
  });
}

async function byToken() {
  const found = /^#token=([\w-]+)/.exec(location.hash);
  if (!found) return;
  history.replaceState(null, "", "/#/");  // a token is not for the list of visited pages
  try {
    await ask("session", { token: found[1] });
  } catch (error) {
    await whoAmI();
    if (session.user === "nobody") say(error);
  }
}

function appearance() {
  const stored = localStorage.getItem("theme");
  const dark = stored ? stored === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
}

function zones() {
  const select = document.getElementById("zone");
  set(select, h("option", { value: "browser" }, `${HERE} (here)`), h("option", { value: "plant" }, `${session.zone} (plant)`));
  select.value = localStorage.getItem("zone") || "browser";
  select.title = `Times are shown in ${select.selectedOptions[0].text}`;
  select.onchange = () => { localStorage.setItem("zone", select.value); show(); };
}

async function begin() {
  try {
    await whoAmI();
  } catch {
    set(main, h("h1", null, "The gateway does not answer"), h("p", null, "Trying again …"));
    setTimeout(begin, 2000);
    return;
  }
  zones();
  await show();
}

appearance();
document.getElementById("theme").onclick = () => {
  localStorage.setItem("theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  appearance();
  dispatchEvent(new Event("themed"));
};
document.getElementById("who").onclick = logIn;
document.querySelector(".skip").onclick = (event) => { event.preventDefault(); main.focus(); };
addEventListener("hashchange", () => {
  if (location.hash.startsWith("#token=")) location.reload();  // pasted into a page that is open
  else show();
});
addEventListener("loggedout", () => { if (session.csrf) begin(); });
addEventListener("unhandledrejection", (event) => say(event.reason));
await byToken();
await begin();
