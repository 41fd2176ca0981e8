// Numbers, durations and times for people: in the user's own way of writing them and in the user's zone.

const whole = new Intl.NumberFormat();
const tenth = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const percents = new Intl.NumberFormat(undefined, { style: "percent" });
const tenths = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const minutes = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const dated = new Intl.DateTimeFormat(undefined, { weekday: "short", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const dates = new Intl.DateTimeFormat(undefined, { weekday: "short", month: "short", day: "numeric", timeZone: "UTC" });

/** The user's zone; what runs in no known one is in UTC. */
export const ZONE = new Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

/** 1,204 */
export const integer = (number) => whole.format(number);

/** A share of one as a percentage, which is 100 % only if nothing is missing. */
export function percent(share) {
  if (share > 0.99 && share < 1) return tenths.format(Math.floor(share * 1000) / 1000);
  return percents.format(Math.floor(share * 100) / 100);
}

/** 1 call, 2 calls */
export const counted = (number, one, many = `${one}s`) => `${integer(number)} ${number === 1 ? one : many}`;

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

/** Seconds as the two largest units that say something: 3 h 12 min. */
export function duration(seconds) {
  const left = Math.max(0, Math.round(seconds));
  const index = UNITS.findIndex(([size]) => left >= size);
  if (index < 0) return "0 s";
  const [size, unit] = UNITS[index];
  const first = `${integer(Math.floor(left / size))} ${unit}`;
  const next = UNITS[index + 1];
  const rest = next && Math.floor((left % size) / next[0]);
  return rest ? `${first} ${rest} ${next[1]}` : first;
}

const WINDOWS = new Map([[1, "second"], [60, "minute"], [3600, "hour"], [86400, "day"], [604800, "week"]]);

/** A window, behind "per": day, 10 s. */
export const each = (seconds) => WINDOWS.get(seconds) ?? duration(seconds);

/** Milliseconds: 3.9 ms, 12 ms, 1.2 s, 3 min 4 s. */
export function milliseconds(number) {
  if (number > 0 && number < 0.05) return `<${tenth.format(0.1)} ms`;
  if (number < 1000) return `${number < 10 ? tenth.format(number) : integer(Math.round(number))} ms`;
  return number < 60_000 ? `${tenth.format(number / 1000)} s` : duration(number / 1000);
}

/** Bytes in the units of a network: powers of ten. */
export function bytes(number) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let index = 0;
  let rest = number;
  while (rest >= 1000 && index < units.length - 1) {
    rest /= 1000;
    index += 1;
  }
  return `${tenth.format(rest)} ${units[index]}`;
}

/** 13:05:09 */
export const timeOfDay = (date) => clock.format(date);

/** 13:05 */
export const hourAndMinute = (date) => minutes.format(date);

/** Sat, Nov 22, 13:05 */
export const dateAndTime = (date) => dated.format(date);

/** A date without a time, as the server wrote it: 2026-11-21. */
export function calendarDate(text) {
  const date = new Date(`${text}T00:00:00Z`);
  return Number.isNaN(date.getTime()) ? text : dates.format(date);
}

/** 2026-11-22 13:05:09 UTC */
export const utc = (date) => `${date.toISOString().slice(0, 19).replace("T", " ")} UTC`;
