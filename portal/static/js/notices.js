// A new message elsewhere, told by the browser itself: that there is one, never of whom or what it says. Quiet
// for what is before the reader's eyes, in whichever of their windows. The browser is asked for its permission
// only when somebody presses the button for it.

import { $, $$, me, request, toast } from "./dom.js";
import { openConversation } from "./timeline.js";

const LATER = () => `ruh.notices.${me()}`;
const ANSWER_MS = 150;
const windows = "BroadcastChannel" in window ? new BroadcastChannel("ruh.notices") : null;

export const mayNotify = () => "Notification" in window && Notification.permission === "granted";
const mayAsk = () => "Notification" in window && Notification.permission === "default";

const reading = (conversation) =>
  document.visibilityState === "visible" && document.hasFocus() && conversation === openConversation();

/** Whether this conversation is being read in another window, which says so itself. */
function readElsewhere(conversation) {
  if (!windows) return Promise.resolve(false);
  return new Promise((decide) => {
    const heard = ({ data }) => data.reading === conversation && done(true);
    const done = (answer) => {
      windows.removeEventListener("message", heard);
      decide(answer);
    };
    windows.addEventListener("message", heard);
    windows.postMessage({ asks: conversation });
    setTimeout(() => done(false), ANSWER_MS);
  });
}

windows?.addEventListener("message", ({ data }) => {
  if (data.asks && reading(data.asks)) windows.postMessage({ reading: data.asks });
});

export async function notify(conversation) {
  if (!mayNotify() || reading(conversation) || (await readElsewhere(conversation))) return;
  let notice;
  try {
    // The tag makes several windows, and several messages of one conversation, one notification.
    notice = new Notification("New message", { tag: conversation, icon: $("link[rel=icon]").href });
  } catch {
    return; // A browser that lets only installed pages show one; the row and the title say it all the same.
  }
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

/** Offered until it is answered. `changed`: the browser may show notifications from now on, or not any more. */
export function offerNotices(changed) {
  const offer = $("#notices-offer");
  const show = () => (offer.hidden = !mayAsk() || localStorage.getItem(LATER()) !== null);
  const answer = (kept) => {
    if (kept) localStorage.setItem(LATER(), kept);
    const focused = offer.contains(document.activeElement);
    show();
    if (focused && offer.hidden) $("#search").focus();
  };
  if (!offer) return;
  show();
  offer.addEventListener("click", async (event) => {
    if (event.target.closest("[data-not-now]")) return answer("later");
    if (!event.target.closest("[data-turn-on]")) return;
    const allowed = (await Notification.requestPermission()) === "granted";
    answer();
    changed();
    if (!allowed) return toast("Your browser doesn’t allow it. You can change that in its settings for this page.");
    await request("/settings/notifications", { body: { about: "browser", browser: "1" } }).catch(() => {});
    toast("Notifications are on. Settings say of what.");
  });
  // Answered in another window, or in the browser's own settings.
  navigator.permissions?.query({ name: "notifications" }).then(
    (state) =>
      state.addEventListener("change", () => {
        show();
        changed();
      }),
    () => {},
  );
}
