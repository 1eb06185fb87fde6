// Says instants as a person would, in the reader's own zone, with the exact one on hover.

const locale = navigator.languages?.find((tag) => tag.startsWith("en")) ?? "en-GB";
const format = (options) => new Intl.DateTimeFormat(locale, options);
const twelve = new Intl.DateTimeFormat(locale, { hour: "numeric" }).resolvedOptions().hour12;
const hour = { hour: twelve ? "numeric" : "2-digit", minute: "2-digit" };

const exact = format({ dateStyle: "full", timeStyle: "short" });
const clock = format(hour);
const weekday = format({ weekday: "short" });
const weekdayClock = format({ weekday: "short", ...hour });
const dayMonth = format({ day: "numeric", month: "short" });
const dayMonthClock = format({ day: "numeric", month: "short", ...hour });
const dayMonthYear = format({ day: "numeric", month: "short", year: "numeric" });
const stamp = format({ day: "numeric", month: "short", year: "numeric", ...hour, second: "2-digit" });
const longDay = format({ weekday: "long", day: "numeric", month: "long" });
const longDayYear = format({ weekday: "long", day: "numeric", month: "long", year: "numeric" });

const midnight = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate());

/** Whole calendar days before today: 0 today, 1 yesterday, over clock changes too. */
export function daysAgo(at, now = new Date()) {
  return Math.round((midnight(now) - midnight(at)) / 86_400_000);
}

export const dayKey = (at) => `${at.getFullYear()}-${at.getMonth()}-${at.getDate()}`;

export function dayWords(at, now = new Date()) {
  const days = daysAgo(at, now);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  return (at.getFullYear() === now.getFullYear() ? longDay : longDayYear).format(at);
}

const forms = {
  time: (at) => clock.format(at),
  brief(at, now) {
    const days = daysAgo(at, now);
    return (days === 0 ? clock : days < 7 ? weekdayClock : dayMonthClock).format(at);
  },
  stamp: (at) => stamp.format(at),
  day: (at) => dayMonthYear.format(at),
  list(at, now) {
    const days = daysAgo(at, now);
    if (days <= 0) return clock.format(at);
    if (days === 1) return "Yesterday";
    if (days < 7) return weekday.format(at);
    return (at.getFullYear() === now.getFullYear() ? dayMonth : dayMonthYear).format(at);
  },
};

export function sayTimes(root = document) {
  const now = new Date();
  for (const element of root.querySelectorAll("time[datetime][data-form]")) {
    const at = new Date(element.dateTime);
    const words = forms[element.dataset.form](at, now);
    if (element.textContent !== words) element.textContent = words;
    const full = exact.format(at);
    if (element.title !== full) element.title = full;
  }
}

/** "Today" is only true until midnight. */
export function keepTimesTrue(again) {
  const next = midnight(new Date());
  next.setDate(next.getDate() + 1);
  setTimeout(() => {
    again();
    keepTimesTrue(again);
  }, next - Date.now() + 500);
}
