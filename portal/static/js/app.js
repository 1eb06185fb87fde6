// Puts the page together: what happens on load, and each time a conversation is put in place.

import { $, $$, isPhone, signInAgain, toast } from "./dom.js";
import "./asks.js";
import "./blast.js";
import { enterComposer } from "./composer.js";
import "./dialogs.js";
import { forgetDrafts } from "./drafts.js";
import "./keys.js";
import { markCurrent, showPane } from "./list.js";
import { connect, follow, reconnect, sayRead } from "./live.js";
import { enterNew } from "./new.js";
import { offerNotices, sayUnread } from "./notices.js";
import { run, showWaiting } from "./sending.js";
import { arrange, enter, openConversation } from "./timeline.js";
import { keepTimesTrue, sayTimes } from "./times.js";

const practice = document.title.split(" · ").at(-1);

function enterConversation() {
  const conversation = $("#conversation");
  document.title = [conversation.dataset.title, "Chat", practice].filter(Boolean).join(" · ");
  sayUnread();
  enter();
  showWaiting();
  enterComposer();
  markCurrent();
  if (sessionStorage.getItem("ruh.details") && matchMedia("(min-width: 1200px)").matches) {
    $("#details")?.removeAttribute("hidden");
    $("#details-button")?.setAttribute("aria-expanded", "true");
  }
}

/** The box is where one writes: at the start, and after a click in the list. Where there is a keyboard; a phone's
 * would cover the half of it. Keys that act on the page (`keys.js`) come after Esc. */
function focusBox() {
  if (matchMedia("(hover: hover)").matches) $("#message-box")?.focus({ preventScroll: true });
}

sayTimes();
enterConversation();
enterNew();
keepTimesTrue(() => {
  sayTimes();
  arrange();
});
connect();
offerNotices(reconnect);
run();
if (document.activeElement === document.body) focusBox();

document.addEventListener("htmx:after:swap", (event) => {
  const { target } = event.detail.ctx ?? {};
  if (target === "#conversation" || target?.id === "conversation") {
    enterConversation();
    showPane("talk");
    follow();
    focusBox();
  } else if (target?.id === "rows-area") {
    markCurrent();
    sayTimes(target);
  } else if (!target?.classList?.contains("people")) {
    sayTimes();
    arrange();
  }
});

document.addEventListener("ruh:changed", () => arrange());

document.addEventListener(
  "click",
  (event) => {
    const row = event.target.closest?.("a.row");
    if (!row || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    if (row.dataset.conversation === openConversation()) {
      // It is here already: nothing is fetched, and the reading position stays.
      event.preventDefault();
      event.stopPropagation();
      if (isPhone()) history.pushState({ htmx: true }, "", row.href);
      showPane("talk");
      sayRead();
      return;
    }
    markRow(row);
  },
  { capture: true },
);

function markRow(row) {
  for (const link of $$("a.row[aria-current]")) link.removeAttribute("aria-current");
  row.setAttribute("aria-current", "true");
}

document.addEventListener("htmx:before:history:restore", (event) => {
  event.preventDefault();
  const path = event.detail.path;
  if (path.startsWith("/chat?list")) return showPane("list");
  if (path === `/chat/${openConversation()}`) return showPane("talk");
  htmx.ajax("GET", path, { target: "#conversation", swap: "outerHTML" });
});

document.addEventListener("htmx:response:error", (event) => {
  const { status } = event.detail.ctx.response;
  if (status === 401) return signInAgain();
  if (status >= 500) toast("Something went wrong on our side. Please try again in a moment.");
  if (status === 404) location.assign("/chat");
});

document.addEventListener("htmx:error", () => toast("There is no connection at the moment. Your text is kept."));

document.addEventListener("submit", (event) => {
  if (event.target.getAttribute("action") === "/sign-out") forgetDrafts();
});

