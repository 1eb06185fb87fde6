// A new message elsewhere, told by the browser itself: that there is one, never of whom or what it says. Quiet
// for what is before the reader's eyes.

import { $$ } from "./dom.js";
import { openConversation } from "./timeline.js";

export const mayNotify = () => "Notification" in window && Notification.permission === "granted";

export function notify(conversation) {
  if (!mayNotify() || (document.visibilityState === "visible" && document.hasFocus() && conversation === openConversation())) return;
  // The tag makes several windows, and several messages of one conversation, one notification.
  const notice = new Notification("New message", { tag: conversation, icon: document.querySelector("link[rel=icon]").href });
  notice.addEventListener("click", () => {
    window.focus();
    notice.close();
    if (conversation !== openConversation()) location.assign(`/chat/${conversation}`);
  });
}

const title = () => document.title.replace(/^\(\d+\) /, "");

/** How many conversations are unread, before the page's title. */
export function sayUnread() {
  const count = $$("#rows .row.is-unread").length;
  document.title = count ? `(${count}) ${title()}` : title();
}
