// The page's one socket. What changed comes as HTML that is already in the reader's words; after a break
// the page asks for what it missed by itself: nothing is left out, nothing stands twice.

import { openBlast } from "./blast.js";
import { enterComposer } from "./composer.js";
import { $, isAttended, isPhone, request, signInAgain } from "./dom.js";
import { forgetRow, putRow, refreshList } from "./list.js";
import { mayNotify, notify, sayUnread } from "./notices.js";
import { run } from "./sending.js";
import { atEnd, lastSeq, merge, openConversation, put, settle } from "./timeline.js";
import { sayTimes } from "./times.js";

let socket = null;
let mark = "";
let pauses = 0;
let readTo = { conversation: null, seq: 0 };
let lost = 0;

/** What the page says of the open conversation. */
const isArchived = () => Boolean($("#talk-tools [data-away='0']"));

export function connect() {
  const address = new URL("/live", location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  address.searchParams.set("conversation", openConversation() ?? "");
  if (openBlast()) address.searchParams.set("blast", openBlast());
  if (mayNotify()) address.searchParams.set("notifies", "1");
  if (isArchived()) address.searchParams.set("archived", "1");
  address.searchParams.set("mark", mark || $("#conversation").dataset.mark);
  socket = new WebSocket(address);
  socket.addEventListener("open", opened);
  socket.addEventListener("message", ({ data }) => apply(JSON.parse(data)));
  socket.addEventListener("close", closed);
}

function opened() {
  pauses = 0;
  clearTimeout(lost);
  $("#connection").hidden = true;
  document.documentElement.dataset.live = "";
  readTo = { conversation: null, seq: 0 };
  sayRead();
  run();
}

function closed(event) {
  delete document.documentElement.dataset.live;
  if (event.code === 4401) return signInAgain();
  const wait = Math.min(300 * 2 ** pauses++, 10_000) * (0.75 + Math.random() / 2);
  clearTimeout(lost);
  lost = setTimeout(() => {
    if (socket.readyState === WebSocket.OPEN) return;
    $("#connection span").textContent = "Reconnecting … your messages are kept";
    $("#connection").hidden = false;
  }, 1500);
  setTimeout(connect, wait);
}

/** At once and anew: what the service has to know of this browser is said when connecting. */
export function reconnect() {
  pauses = 0;
  socket?.close();
}

addEventListener("online", () => socket?.readyState === WebSocket.CLOSED && ((pauses = 0), connect()));

function say(words) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(words));
}

/** Each kind of change, and what it does to the page. */
const changes = {
  message(conversation, html) {
    if (conversation === openConversation()) put(html);
  },
  row: (_conversation, html) => putRow(html),
  gone(conversation) {
    forgetRow(conversation);
    if (conversation === openConversation()) location.assign("/chat");
  },
  part(conversation, id, html) {
    const here = conversation === openConversation() && document.getElementById(id);
    if (!here || here.querySelector("input:not([type=checkbox])")) return;
    const focused = here.contains(document.activeElement);
    htmx.swap({ text: html, target: here, swap: "outerMorph", sourceElement: here });
    document.dispatchEvent(new CustomEvent("ruh:part", { detail: id }));
    // The button that was just pressed may be gone: the keyboard goes on from there, not from the page's top.
    if (focused && document.activeElement === document.body) {
      ($("#details:not([hidden]) [data-close-details]") ?? $("#message-box") ?? $("#details-button"))?.focus({ preventScroll: true });
    }
  },
  composer(conversation, silence, html) {
    const here = conversation === openConversation() && $("#composer-area");
    if (!here || (silence ? $("#composer-silence span", here)?.textContent === silence : $("#composer", here))) return;
    here.outerHTML = html;
    enterComposer();
  },
  drop(conversation, id) {
    if (conversation === openConversation()) document.getElementById(`m-${id}`)?.remove();
  },
  typing(conversation, html) {
    if (conversation === openConversation()) $("#typing").innerHTML = html;
  },
  notify: (conversation) => notify(conversation),
  forget: (row) => forgetRow(row),
  blast: () => document.dispatchEvent(new CustomEvent("ruh:blast")),
  again: () => catchUp(),
};

function apply({ mark: now, changes: list }) {
  const stay = atEnd();
  for (const [kind, ...rest] of list) changes[kind](...rest);
  mark = now;
  settle();
  sayTimes();
  sayUnread();
  if (stay) sayRead();
}

/** Too long away to be told one by one: the list and the last page again. */
async function catchUp() {
  const conversation = openConversation();
  document.dispatchEvent(new CustomEvent("ruh:blast"));
  try {
    const [, page] = await Promise.all([
      refreshList(),
      conversation && request(`/chat/${conversation}/latest`).then((answer) => (answer.ok ? answer.text() : "")),
    ]);
    if (page && conversation === openConversation()) merge(page);
    sayRead();
  } catch {
    setTimeout(catchUp, 2000);
  }
}

/** Read is what was on the screen: the page is looked at, and its end is in sight. */
export function sayRead() {
  const conversation = openConversation();
  const pane = $(".app").dataset.pane;
  if (!conversation || document.visibilityState !== "visible" || (isPhone() && pane === "list")) return;
  const seq = lastSeq();
  if (readTo.conversation === conversation && (readTo.seq >= seq || !atEnd())) return;
  readTo = { conversation, seq };
  say({ read: seq, conversation, there: isAttended() });
}

/** Another conversation was opened in place. */
export function follow() {
  say({ open: openConversation(), blast: openBlast(), archived: isArchived(), mark: $("#conversation").dataset.mark });
  sayRead();
}

document.addEventListener("visibilitychange", () => sayRead());
document.addEventListener("ruh:at-end", () => sayRead());
document.addEventListener("ruh:typing", ({ detail }) => say({ typing: detail, conversation: openConversation() }));
