// What somebody has begun to write stays theirs: kept per person and conversation in this browser, over
// reloads and sign-ins, until it is sent or they sign out themselves.

import { me } from "./dom.js";

const key = (conversation) => `ruh.draft.${me()}.${conversation}`;

export function keepDraft(conversation, text, replyTo = null) {
  try {
    if (text.trim()) localStorage.setItem(key(conversation), JSON.stringify({ text, replyTo }));
    else localStorage.removeItem(key(conversation));
  } catch {
    // Storage is full or switched off: the text is still in the box.
  }
}

export function draftOf(conversation) {
  try {
    return JSON.parse(localStorage.getItem(key(conversation))) ?? { text: "", replyTo: null };
  } catch {
    return { text: "", replyTo: null };
  }
}

export function forgetDrafts() {
  for (const name of Object.keys(localStorage)) {
    if (name.startsWith("ruh.")) localStorage.removeItem(name);
  }
}
