// The gateway's API: requests with the session's word, what is polled while somebody looks, and
// live values whose losses are noticed.

export const session = { user: "nobody", role: "viewer", csrf: "", users: false, zone: "UTC" };
const RANK = { none: 0, viewer: 1, operator: 2, engineer: 3 };

export class Refused extends Error {
  constructor(problem, status) {
    super(problem.detail || `the gateway answered ${status}`);
    this.status = status;
    this.advice = problem.try || "";
  }

  toString() {
    return this.advice ? `${this.message}; try: ${this.advice}` : this.message;
  }
}

export function may(role) {
  return RANK[session.role] >= RANK[role];
}

export async function ask(path, body, method) {
  const options = { method: method || (body === undefined ? "GET" : "POST"), headers: {} };
  if (options.method !== "GET") {
    options.headers["X-CSRF-Token"] = session.csrf;
    if (body !== undefined) {
      options.headers["Content-Type"] = "application/json";
      options.body = JSON.stringify(body);
    }
  }
  const answer = await fetch(`/api/v1/${path}`, options);
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(told, answer.status);
  return told;
}

export function query(values) {
  const found = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) if (value != null && value !== "") found.set(name, value);
  return found.toString();
}

export async function whoAmI() {
  Object.assign(session, await ask("session"));
}

const trouble = new Set();

export function troubled(source, words) {
  if (words) trouble.add(source); else trouble.delete(source);
  const place = document.getElementById("trouble");
  if (words) place.textContent = words;
  place.hidden = trouble.size === 0;
}

// Call `work` now and again every so many milliseconds, while the page is looked at; the result ends it.
export function every(milliseconds, work) {
  let timer, ended = false;
  const source = {};
  async function turn() {
    if (!document.hidden) {
      try {
        await work();
        troubled(source, "");
      } catch (error) {
        if (!ended) troubled(source, error instanceof Refused ? String(error)
          : "The gateway does not answer; trying again …");
        if (error.status === 401) dispatchEvent(new Event("loggedout"));
      }
    }
    if (!ended) timer = setTimeout(turn, milliseconds);
  }
  const look = () => { if (!document.hidden) { clearTimeout(timer); turn(); } };
  document.addEventListener("visibilitychange", look);
  turn();
  return () => {
    ended = true;
    clearTimeout(timer);
    troubled(source, "");
    document.removeEventListener("visibilitychange", look);
  };
}

// Live values of `tags`: told(tag, time_us, value, quality, reason); missed() where blocks were lost.
export function live(tags, told, missed) {
  const wanted = new Set(tags.map((tag) => tag.toLowerCase()));
  const seen = new Map();
  const source = new EventSource(`/api/v1/live?${query({ tags: tags.join(",") })}`);
  const take = (event, whole) => {
    const block = JSON.parse(event.data);
    const key = `${block.publisher} ${block.epoch}`;
    const last = seen.get(block.topic);
    if (last && last.key === key) {
      if (block.sequence < last.sequence || (block.sequence === last.sequence && !whole)) return;
      if (!whole && block.previous > last.sequence) missed();
    }
    seen.set(block.topic, { key, sequence: block.sequence });
    const [device] = block.topic.split("/");
    for (const [member, [value, quality, reason]] of Object.entries(block.values)) {
      const tag = device === "local" ? member : `${device}.${member}`;
      if (wanted.has(tag.toLowerCase())) told(tag, block.time_us, value, quality, reason || "good", whole);
    }
  };
  let opened = false;
  source.addEventListener("block", (event) => take(event, false));
  source.addEventListener("whole", (event) => take(event, true));
  source.addEventListener("lost", () => missed());
  source.addEventListener("open", () => { troubled(source, ""); if (opened) missed(); opened = true; });
  source.addEventListener("error", () => troubled(source, "Live values are interrupted; connecting again …"));
  return () => { source.close(); troubled(source, ""); };
}
