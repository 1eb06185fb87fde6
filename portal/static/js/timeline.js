// The open conversation's timeline: nothing jumps. Lines stand in the journal's order, each once; what
// arrives keeps the reading position, and says itself below ("3 new ↓").

import { $, $$, fragment, request } from "./dom.js";
import { dayKey, dayWords, sayTimes } from "./times.js";

const GROUP_MS = 5 * 60_000;
const NEAR = 80;
let waiting = 0;
let stuck = true;
let loadingOlder = false;
let sizes = null;

const timeline = () => $("#timeline");
const messages = () => $("#messages");
export const atEnd = () => {
  const box = timeline();
  return !box || box.scrollHeight - box.scrollTop - box.clientHeight < NEAR;
};
export const lastSeq = () => Number($$("#messages > [data-seq]").at(-1)?.dataset.seq ?? 0);
export const openConversation = () => $("#conversation")?.dataset.conversation ?? null;

/** Days between, groups of one person, and the line where "new" begins. Runs again after every change. */
export function arrange() {
  const list = messages();
  if (!list) return;
  const fresh = timeline().dataset.fresh;
  $$(":scope > .day", list).forEach((line) => line.remove());
  let before = null;
  let day = null;
  let freshDone = fresh === "";
  for (const line of $$(":scope > [data-at]", list)) {
    const at = new Date(line.dataset.at);
    let broken = false;
    if (dayKey(at) !== day) {
      day = dayKey(at);
      line.before(separator(dayWords(at), "day"));
      broken = true;
    }
    if (!freshDone && line.dataset.seq && Number(line.dataset.seq) > Number(fresh) && !line.classList.contains("is-own")) {
      line.before(separator("New", "day fresh-line"));
      freshDone = broken = true;
    }
    const together =
      !broken && before && line.dataset.author && line.dataset.author === before.dataset.author &&
      at - new Date(before.dataset.at) < GROUP_MS;
    line.classList.toggle("is-next", Boolean(together));
    before?.classList.toggle("is-last", !together);
    before = line;
  }
  before?.classList.add("is-last");
  sayTimes(list);
  sayState(list);
}

/** Only the latest message that was seen, and the latest that waits, say so in words; the others' marks do on hover. */
function sayState(list) {
  for (const state of [".is-seen", ".is-waiting"]) {
    const marks = $$(`.is-own .mark${state}`, list);
    marks.forEach((mark, n) => mark.classList.toggle("is-latest", n === marks.length - 1));
  }
}

function separator(words, name) {
  const line = document.createElement("li");
  line.className = name;
  line.textContent = words;
  return line;
}

/** A conversation has just been put in place: show it where the reader should begin. */
export function enter() {
  const box = timeline();
  sizes?.disconnect();
  if (!box) return;
  waiting = 0;
  stuck = true;
  arrange();
  const fresh = $(".fresh-line", box);
  if (fresh && box.scrollHeight - fresh.offsetTop > box.clientHeight) {
    box.scrollTop = fresh.offsetTop - box.clientHeight / 4;
    stuck = atEnd();
  } else toEnd();
  box.dataset.ready = "";
  box.addEventListener("scroll", onScroll, { passive: true });
  $("#new-below").addEventListener("click", () => {
    toEnd();
    $("#message-box")?.focus({ preventScroll: true });
  });
  sizes = new ResizeObserver(() => stuck && toEnd());
  sizes.observe(messages());
  sizes.observe(box);
  setCurrent($$("#messages > .message").at(-1));
  onScroll();
}

export function toEnd() {
  const box = timeline();
  stuck = true;
  box.scrollTop = box.scrollHeight;
  sayNew(0);
}

function sayNew(count) {
  waiting = count;
  const button = $("#new-below");
  if (!button) return;
  button.hidden = count === 0;
  button.textContent = `${count} new ↓`;
}

function onScroll() {
  const box = timeline();
  stuck = atEnd();
  if (stuck && waiting) sayNew(0);
  if (stuck) document.dispatchEvent(new CustomEvent("ruh:at-end"));
  if (box.scrollTop < 1.5 * box.clientHeight) loadOlder();
}

async function loadOlder() {
  const more = $("#older");
  if (!more || loadingOlder) return;
  loadingOlder = true;
  const box = timeline();
  try {
    const response = await request(more.dataset.url);
    if (!response.ok || !more.isConnected) return;
    const page = fragment(await response.text());
    const fromEnd = box.scrollHeight - box.scrollTop;
    $$("[data-seq]", page).forEach((line) => document.getElementById(line.id) && line.remove());
    htmx.process(page);
    more.replaceWith(page);
    arrange();
    box.scrollTop = box.scrollHeight - fromEnd;
    htmx.process(messages());
  } catch {
    // No connection: scrolling again, or the reconnection, asks again.
  } finally {
    loadingOlder = false;
  }
  if ($("#older") && box.isConnected && box.scrollTop < box.clientHeight / 2) loadOlder();
}

/** One line as it is now: in its place if it is new, changed in place if it is here. Twice is the same as once. */
export function put(html, { quiet = false } = {}) {
  const list = messages();
  const line = fragment(html).firstElementChild;
  if (!list || !line) return;
  if (line.dataset.request) $(`#pending-${line.dataset.request}`)?.remove();
  const here = document.getElementById(line.id);
  if (here) {
    const editing = $(".edit-form", here) && !line.classList.contains("is-deleted");
    if (!editing) htmx.swap({ text: html, target: here, swap: "outerMorph", sourceElement: here });
    return;
  }
  const seq = Number(line.dataset.seq);
  const oldest = $(":scope > [data-seq]", list);
  if (oldest && seq < Number(oldest.dataset.seq) && $("#older")) return;
  const after = $$(":scope > [data-seq]", list).findLast((other) => Number(other.dataset.seq) < seq);
  if (!quiet) line.classList.add("is-arriving");
  if (after) after.after(line);
  else if (oldest) oldest.before(line);
  else list.append(line);
  $$(":scope > .is-pending", list).forEach((pending) => list.append(pending));
  htmx.process(line);
  if (quiet || line.classList.contains("is-own")) return;
  if (!stuck) sayNew(waiting + 1);
  $("#announcement").textContent = `New: ${line.querySelector(".message-author, .vh")?.textContent ?? ""} ${$(".words, .notice p", line)?.textContent ?? ""}`;
}

/** After several `put`s: put in order, and stay where the reader is. */
export function settle() {
  arrange();
  if (stuck && timeline()) toEnd();
}

/** The latest page again, after a time without connection. A gap that is too long begins a new timeline. */
export function merge(html) {
  const page = fragment(html);
  const lines = $$("[data-seq]", page);
  const first = Number(lines[0]?.dataset.seq ?? 0);
  if ($("#older", page) && lines.length && lastSeq() < first) {
    messages().replaceChildren(page);
    htmx.process(messages());
  } else lines.forEach((line) => put(line.outerHTML));
  settle();
}

/** Arrow keys move through the messages: one of them at a time is a tab stop, with its buttons. */
export function setCurrent(line) {
  if (!line) return;
  for (const other of $$("#messages > .message[tabindex='0']")) {
    other.tabIndex = -1;
    $$(".message-tools button", other).forEach((button) => (button.tabIndex = -1));
  }
  line.tabIndex = 0;
  $$(".message-tools button", line).forEach((button) => (button.tabIndex = 0));
}

document.addEventListener("focusin", (event) => setCurrent(event.target.closest?.("#messages > .message")));

document.addEventListener("keydown", (event) => {
  const line = event.target.closest?.("#messages > .message, #timeline");
  if (!line || event.target.closest("input, textarea")) return;
  if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
  const all = $$("#messages > .message");
  const at = all.indexOf(event.target.closest(".message"));
  const next = at < 0 ? all.at(-1) : all[at + (event.key === "ArrowDown" ? 1 : -1)];
  if (!next) return;
  event.preventDefault();
  next.focus();
});

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("[data-goes-to]");
  if (!link) return;
  event.preventDefault();
  const line = document.getElementById(link.dataset.goesTo);
  if (!line) return;
  line.scrollIntoView({ block: "center" });
  line.classList.add("is-pointed-at");
  setTimeout(() => line.classList.remove("is-pointed-at"), 1500);
});
