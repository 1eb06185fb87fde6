// What Element would show of a room, as plain values. Edits, redactions, reactions and shields are the SDK's own
// findings; the one rule added is Element Web's padlock on a message that came in clear in an encrypted room.

import { EventShieldColour, EventShieldReason } from "matrix-js-sdk/lib/crypto-api/index.js";

const colours = { [EventShieldColour.GREY]: "grey", [EventShieldColour.RED]: "red" };
const shownTypes = new Set(["m.room.message", "m.room.encrypted", "m.sticker"]);
const settled = new Set([null, "sent"]); // what is still being sent has no event id that anyone else knows

function isShown(event) {
    const edits = event.getRelation()?.rel_type === "m.replace";
    return shownTypes.has(event.getType()) && settled.has(event.status) && !edits && !event.isState();
}

function reactionsTo(room, id) {
    const found = room.relations.getChildEventsForEvent(id, "m.annotation", "m.reaction");
    const byKey = found?.getSortedAnnotationsByKey() ?? [];
    return Object.fromEntries(byKey.map(([key, events]) => [key, [...events].map((event) => event.getSender())]));
}

async function shieldOf(client, room, event) {
    event = event.replacingEvent() ?? event; // Element shows the shield of the edit
    if (event.isRedacted() || event.isDecryptionFailure()) return [null, null];
    if (!event.isEncrypted()) return room.hasEncryptionStateEvent() ? ["red", "SENT_IN_CLEAR"] : [null, null];
    const info = await client.getCrypto().getEncryptionInfoForEvent(event);
    const colour = colours[info?.shieldColour] ?? null;
    return [colour, colour && EventShieldReason[info.shieldReason ?? 0]];
}

async function itemOf(client, room, event) {
    await event.getDecryptionPromise();
    const [shield, shield_reason] = await shieldOf(client, room, event);
    const redacted = event.isRedacted();
    return {
        event_id: event.getId(),
        sender: event.getSender(),
        sender_name: event.sender?.name ?? event.getSender(),
        at: event.getTs(),
        content: redacted || event.isDecryptionFailure() ? {} : event.getContent(),
        type: event.getType(),
        encrypted: event.isEncrypted(),
        edited: Boolean(event.replacingEventId()) && !redacted,
        redacted,
        reply_to: event.replyEventId ?? null,
        reactions: redacted ? {} : reactionsTo(room, event.getId()),
        failure: event.isDecryptionFailure() ? event.decryptionFailureReason : null,
        shield,
        shield_reason,
    };
}

export async function itemsOf(client, room) {
    const events = room.getLiveTimeline().getEvents().filter((event) => event.getType() !== "m.room.member");
    // An edit is known to be one only after it is decrypted.
    await Promise.all(events.map((event) => event.getDecryptionPromise()));
    return Promise.all(events.filter(isShown).map((event) => itemOf(client, room, event)));
}

export function roomOf(room) {
    const state = room.currentState;
    const members = room.getMembers().map((member) => [
        member.userId,
        { name: member.rawDisplayName, membership: member.membership },
    ]);
    const entries = [...state.events].flatMap(([type, byKey]) =>
        [...byKey].map(([key, event]) => ({ type, key, content: event.getContent() })));
    return {
        id: room.roomId,
        name: room.name,
        membership: room.getMyMembership(),
        encrypted: room.hasEncryptionStateEvent(),
        members: Object.fromEntries(members),
        state: entries,
    };
}
