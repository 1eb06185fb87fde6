// Element's JavaScript SDK as a program that a test talks to.
//
// One JSON object a line. In: {"id": 1, "do": "send", …}. Out: {"id": 1, "ok": …} or {"id": 1, "error": {…}}, and
// {"push": "message", "room": …} whenever something happens by itself. The program ends when its standard input does, so
// a test that dies takes it along. The SDK sees what a person's Element would: nothing here decrypts or folds by itself.

import { createInterface } from "node:readline";
import { once } from "node:events";
import { setTimeout as pause } from "node:timers/promises";

// The SDK logs to the console, and standard output is ours.
const loud = Boolean(process.env.ELEMENT_LOG);
for (const level of ["log", "info", "debug", "trace", "warn", "error"]) {
    console[level] = (...words) => loud && process.stderr.write(words.map(String).join(" ") + "\n");
}

const sdk = await import("matrix-js-sdk");
const { Attachment, EncryptedAttachment } = await import("@matrix-org/matrix-sdk-crypto-wasm");
const { decodeRecoveryKey, encodeRecoveryKey } = await import("matrix-js-sdk/lib/crypto-api/index.js");
const { RustBackupManager } = await import("matrix-js-sdk/lib/rust-crypto/backup.js");
const { itemsOf, roomOf } = await import("./element_view.mjs");

RustBackupManager.maxBackupLoopStartDelayMillis = 0; // keys go into the backup at once, not within 10 s

let client;
let password;
let recoveryKey; // of the secret storage: what Element calls the recovery key, as bytes
let online = true;

const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const roomFor = (id) => {
    const room = client.getRoom(id);
    if (!room) throw new Error(`no such room: ${id}`);
    return room;
};
const eventFor = (room, id) => {
    const event = roomFor(room).findEventById(id);
    if (!event) throw new Error(`no such event: ${id}`);
    return event;
};

// A phone without a network: every request fails as the network would, sync included.
async function fetchUnlessOffline(url, options) {
    if (!online) throw new TypeError("fetch failed: offline");
    const gone = new AbortController();
    const cut = () => gone.abort(new TypeError("fetch failed: offline"));
    unplugged.addEventListener("cut", cut, { once: true });
    try {
        const signal = options?.signal ? AbortSignal.any([options.signal, gone.signal]) : gone.signal;
        return await fetch(url, { ...options, signal });
    } finally {
        unplugged.removeEventListener("cut", cut);
    }
}
const unplugged = new EventTarget();

// What did not get through is sent again under the same transaction id, as by the "Retry" that Element offers. The SDK
// itself gives up after a few attempts, and at once when it was still fetching keys.
const RETRY = 500; // ms
const lostOnTheWay = (error) => error.name === "ConnectionError" || [502, 503, 504].includes(error.httpStatus);
const scheduler = new sdk.MatrixScheduler((event, attempts, error) =>
    lostOnTheWay(error) ? RETRY : sdk.MatrixScheduler.RETRY_BACKOFF_RATELIMIT(event, attempts, error),
);

async function sendUntilThrough(room, type, content) {
    const txn = client.makeTxnId();
    let sending = client.sendEvent(room, type, content, txn);
    for (;;) {
        try {
            return (await sending).event_id;
        } catch (error) {
            if (!lostOnTheWay(error)) throw error;
            await pause(RETRY);
            const unsent = roomFor(room).getLiveTimeline().getEvents().find((event) => event.getTxnId() === txn);
            sending = client.resendEvent(unsent, roomFor(room));
        }
    }
}

// Left alone, the SDK looks for a lost homeserver every 5 to 10 seconds.
function reconnectSoon() {
    const lost = ["RECONNECTING", "ERROR"];
    setInterval(() => online && lost.includes(client.getSyncState()) && client.retryImmediately(), RETRY);
}

// Synapse asks for the password again when keys are replaced; the first upload is free (MSC3967).
const withPassword = (request) =>
    request(null).catch((error) =>
        request({
            type: "m.login.password",
            identifier: { type: "m.id.user", user: client.getUserId() },
            password,
            session: error.data?.session,
        }),
    );

function pushChanges() {
    const push = (what, event, more) =>
        say({ push: what, room: event.getRoomId(), event_id: event.getId(), sender: event.getSender(), ...more });
    client.on(sdk.RoomEvent.Timeline, (event, room, toStartOfTimeline) => {
        if (toStartOfTimeline || event.isState()) return;
        const relation = event.getWireContent()["m.relates_to"]?.rel_type;
        const edit = relation === sdk.RelationType.Replace;
        push(event.isRedaction() ? "redaction" : edit ? "edit" : "message", event, { type: event.getType() });
    });
    client.on(sdk.RoomEvent.Redaction, (event) => push("redaction", event));
    client.on(sdk.RoomEvent.LocalEchoUpdated, (event) => push("sending", event));
    client.on(sdk.MatrixEventEvent.Decrypted, (event) => push("decrypted", event));
    client.on(sdk.MatrixEventEvent.Replaced, (event) => push("edit", event));
    client.on(sdk.RoomMemberEvent.Typing, (event, member) =>
        say({ push: "typing", room: member.roomId, sender: member.userId, on: member.typing }));
    client.on(sdk.RoomEvent.Receipt, (event, room) => say({ push: "receipt", room: room.roomId }));
    client.on(sdk.RoomStateEvent.Events, (event) => {
        push(event.getType() === "m.room.member" ? "membership" : "state", event, { type: event.getType() });
    });
    client.on(sdk.ClientEvent.Room, (room) => say({ push: "room", room: room.roomId }));
    client.on(sdk.RoomEvent.MyMembership, (room) => say({ push: "membership", room: room.roomId }));
    // Whom we trust decides the shields.
    client.on("userTrustStatusChanged", (user) => say({ push: "trust", sender: user }));
    client.on(sdk.ClientEvent.Sync, (state) => say({ push: "sync", state }));
}

async function untilSynced() {
    while (!["PREPARED", "SYNCING"].includes(client.getSyncState())) await once(client, sdk.ClientEvent.Sync);
}

async function makeRecoverable() {
    const crypto = client.getCrypto();
    const backedUp = new Promise((done) =>
        client.on("crypto.keyBackupSessionsRemaining", (remaining) => remaining === 0 && done()),
    );
    await crypto.bootstrapSecretStorage({
        setupNewSecretStorage: true,
        setupNewKeyBackup: true,
        createSecretStorageKey: async () => {
            const key = await crypto.createRecoveryKeyFromPassphrase();
            recoveryKey = key.privateKey;
            return key;
        },
    });
    await backedUp;
    return encodeRecoveryKey(recoveryKey);
}

async function recover(key) {
    recoveryKey = decodeRecoveryKey(key);
    const crypto = client.getCrypto();
    await crypto.bootstrapCrossSigning({});
    await crypto.loadSessionBackupPrivateKeyFromSecretStorage();
    await crypto.checkKeyBackupAndEnable();
    await crypto.restoreKeyBackup();
}

const commands = {
    async sign_in({ homeserver, user, password: given, device_name, recovery_key, cross_signing }) {
        password = given;
        const door = sdk.createClient({ baseUrl: homeserver });
        const account = await door.loginRequest({
            type: "m.login.password",
            identifier: { type: "m.id.user", user },
            password,
            initial_device_display_name: device_name,
        });
        client = sdk.createClient({
            baseUrl: homeserver,
            userId: account.user_id,
            deviceId: account.device_id,
            accessToken: account.access_token,
            fetchFn: fetchUnlessOffline,
            scheduler,
            disableVoip: true,
            cryptoCallbacks: {
                getSecretStorageKey: async ({ keys }) => recoveryKey && [Object.keys(keys)[0], recoveryKey],
                cacheSecretStorageKey: (id, info, key) => (recoveryKey = key),
            },
        });
        await client.initRustCrypto({ useIndexedDB: false });
        pushChanges();
        reconnectSoon();
        const crypto = client.getCrypto();
        const known = await crypto.userHasCrossSigningKeys(account.user_id, true);
        if (cross_signing && !known) await crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: withPassword });
        await client.startClient({ initialSyncLimit: 100, disablePresence: true, threadSupport: false });
        await untilSynced();
        if (recovery_key) await recover(recovery_key);
        return { user_id: account.user_id, device_id: account.device_id, access_token: account.access_token };
    },
    make_recoverable: makeRecoverable,
    reset_identity: () =>
        client.getCrypto().bootstrapCrossSigning({
            setupNewCrossSigning: true,
            authUploadDeviceSigningKeys: withPassword,
        }),
    logout: () => client.logout(true),
    offline() {
        online = false;
        unplugged.dispatchEvent(new Event("cut"));
    },
    async online() {
        online = true;
        client.retryImmediately();
        await untilSynced();
    },

    rooms: () => client.getRooms().map(roomOf),
    timeline: ({ room }) => itemsOf(client, roomFor(room)),
    history: ({ room, limit }) => client.scrollback(roomFor(room), limit).then(() => null),
    receipts({ room: id }) {
        const room = roomFor(id);
        const read = room.getMembers().map(({ userId }) => [userId, room.getEventReadUpTo(userId, true)]);
        return Object.fromEntries(read.filter(([, event]) => event));
    },
    typists: ({ room }) => roomFor(room).getMembers().filter((m) => m.typing).map((m) => m.userId),
    identity_of: async ({ user }) => {
        const status = await client.getCrypto().getUserVerificationStatus(user);
        return { known: status.known, verified: status.isVerified(), needs_approval: status.needsUserApproval };
    },

    join: ({ room }) => client.joinRoom(room).then(() => null),
    leave: ({ room }) => client.leave(room).then(() => null),
    send_event: ({ room, type, content }) => sendUntilThrough(room, type, content),
    redact: ({ room, event_id, reason }) =>
        client.redactEvent(room, event_id, undefined, reason ? { reason } : {}).then((sent) => sent.event_id),
    read: ({ room, event_id }) => client.sendReadReceipt(eventFor(room, event_id)).then(() => null),
    typing: ({ room, on }) => client.sendTyping(room, on, 20_000).then(() => null),
    async upload({ data, encrypted, mimetype }) {
        const plain = new Uint8Array(Buffer.from(data, "base64"));
        if (!encrypted) {
            const { content_uri } = await client.uploadContent(new Blob([plain]), { type: mimetype });
            return { url: content_uri };
        }
        const sealed = Attachment.encrypt(plain);
        const info = JSON.parse(sealed.mediaEncryptionInfo);
        const body = new Blob([sealed.encryptedData]);
        const { content_uri } = await client.uploadContent(body, { type: "application/octet-stream" });
        return { file: { ...info, url: content_uri } };
    },
    async download({ room, event_id }) {
        const { file, url } = eventFor(room, event_id).getContent();
        const address = client.mxcUrlToHttp(file?.url ?? url, undefined, undefined, undefined, false, true, true);
        const answer = await fetch(address, { headers: { Authorization: `Bearer ${client.getAccessToken()}` } });
        if (!answer.ok) throw Object.assign(new Error("no such media"), { httpStatus: answer.status });
        const bytes = new Uint8Array(await answer.arrayBuffer());
        const plain = file ? Attachment.decrypt(new EncryptedAttachment(bytes, JSON.stringify(file))) : bytes;
        return Buffer.from(plain).toString("base64");
    },
};

async function answer(line) {
    const { id, do: what, ...given } = JSON.parse(line);
    try {
        say({ id, ok: (await commands[what](given)) ?? null });
    } catch (error) {
        const { errcode, httpStatus, message, name } = error;
        say({ id, error: { code: errcode ?? name ?? "Error", status: httpStatus ?? 0, message: String(message ?? error) } });
    }
}

// A rejected promise somewhere in the SDK (a typing notice while offline) mustn't end the client.
process.on("unhandledRejection", (reason) => console.warn("unhandled", reason));
for await (const line of createInterface({ input: process.stdin })) void answer(line);
process.exit(0);
