// Numbers, ages and times as people read them.

import { session } from "./api.js";

export function value(of) {
  if (of === null || of === undefined) return "–";
  if (typeof of === "boolean") return of ? "on" : "off";
  if (typeof of === "number") return Number.isInteger(of) ? String(of) : String(Number(of.toPrecision(7)));
  if (Array.isArray(of)) return `[${of.slice(0, 8).map(value).join(", ")}${of.length > 8 ? ", …" : ""}]`;
  return String(of);
}

export function age(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 100) return `${seconds.toFixed(1)} s`;
  if (seconds < 6000) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

export function bytes(count) {
  if (count === null || count === undefined || count < 0) return "–";
  const steps = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (count >= 1000 && at < steps.length - 1) { count /= 1000; at += 1; }
  return `${count >= 100 || at === 0 ? Math.round(count) : count.toFixed(1)} ${steps[at]}`;
}

export const HERE = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

export function zone() {
  return localStorage.getItem("zone") === "plant" ? session.zone : HERE;
}

export function time(us, withDate = true, digits = 0) {
  if (!us) return "–";
  const options = { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false, timeZone: zone() };
  if (digits) options.fractionalSecondDigits = digits;
  if (withDate) Object.assign(options, { year: "numeric", month: "2-digit", day: "2-digit" });
  return new Intl.DateTimeFormat("sv-SE", options).format(new Date(us / 1000));
}

// A moment of today without its date.
export function moment(us) {
  const full = time(us);
  return full.startsWith(time(Date.now() * 1000).slice(0, 10)) ? full.slice(11) : full;
}

export function rate(hertz) {
  return hertz === null || hertz === undefined ? "–" : `${hertz.toFixed(hertz < 10 ? 1 : 0)}/s`;
}
