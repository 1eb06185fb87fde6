// The conversation list: rows change in place and move up when something new was said.

import { $, $$, fragment, isPhone, request } from "./dom.js";
import { openBlast } from "./blast.js";
import { openConversation } from "./timeline.js";
import { sayTimes } from "./times.js";

const rows = () => $("#rows");
/** What stands beside the list: a conversation, or a blast. */
const openRow = () => openConversation() ?? openBlast();
const searching = () => $("#search").value.trim() !== "";
const filters = () => ({ query: $("#search").value, visibility: $("#visibility").value, which: $("#which").value });
/** Whether the list as it is filtered now has this row. */
function fits(row) {
  const { visibility, which } = filters();
  const archived = "archived" in row.dataset;
  return (visibility === "all" || archived === (visibility === "archived")) && (which === "all" || which === row.dataset.which);
}

/** A row as it is now, in its place by time. A row that a search left out stays out. */
export function putRow(html) {
  const row = fragment(html).firstElementChild;
  const list = rows();
  if (!row || !list) return;
  const here = document.getElementById(row.id);
  if (!fits(row)) return forgetRow(row.id.slice("row-".length));
  if (!here && searching()) return;
  markCurrent(row);
  const focused = here?.contains(document.activeElement);
  const unmoved = here && here.dataset.at === row.dataset.at;
  if (unmoved) here.replaceWith(row);
  else {
    here?.remove();
    const below = $$(":scope > li", list).find((other) => other.dataset.at < row.dataset.at);
    list.insertBefore(row, below ?? null);
  }
  $("#rows-area > .list-foot")?.remove();
  htmx.process(row);
  sayTimes(row);
  if (focused) $("a", row).focus();
}

export function forgetRow(key) {
  const row = document.getElementById(`row-${key}`);
  row?.remove();
  // Why the list is empty is the server's to say.
  if (row && !$$("#rows > li").length) refreshList().catch(() => {});
}

/** Which row is open is the page's to know. */
export function markCurrent(root = document) {
  const open = openRow();
  for (const link of $$("a.row", root)) {
    if (link.dataset.conversation === open) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

export async function refreshList() {
  const response = await request("/chat/list", { body: filters() });
  if (!response.ok) throw new Error("list");
  $("#rows-area").innerHTML = await response.text();
  htmx.process($("#rows-area"));
  markCurrent();
  sayTimes($("#rows-area"));
}

const links = () => $$("#rows a.row");

/** The row after or before the open one; `unread`: the next that is unread. */
export function step(by, unread = false) {
  const all = links();
  const at = all.findIndex((link) => link.dataset.conversation === openRow());
  const order = unread ? [...all.slice(at + 1), ...all.slice(0, at)] : all;
  const next = unread ? order.find((link) => link.classList.contains("is-unread")) : all[at + by];
  next?.scrollIntoView({ block: "nearest" });
  next?.click();
}

export function showPane(pane) {
  $(".app").dataset.pane = pane;
}

/** On a phone the list is a place of its own, with an address of its own. */
document.addEventListener("click", (event) => {
  if (!event.target.closest?.("[data-back]") || !isPhone()) return;
  event.preventDefault();
  if (!history.state?.htmx) history.replaceState({ htmx: true }, "", location.href);
  history.pushState({ htmx: true }, "", "/chat?list");
  showPane("list");
  $(`#row-${openRow()} a`)?.focus();
});

document.addEventListener("keydown", (event) => {
  const link = event.target.closest?.("#rows a.row");
  if (!link || (event.key !== "ArrowDown" && event.key !== "ArrowUp")) return;
  const all = links();
  const next = all[all.indexOf(link) + (event.key === "ArrowDown" ? 1 : -1)];
  if (!next) return;
  event.preventDefault();
  next.focus();
});
