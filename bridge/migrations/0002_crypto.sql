-- Keys: our devices, the devices of others, Olm and Megolm sessions
-- depends: 0001_foundation

-- migrate: apply

-- The Olm account and cross-signing identity of a puppet. Pickles are encrypted under keys derived from the
-- standing key "devices"; the private cross-signing keys are sealed with it.
CREATE TABLE crypto_account (
    puppet_id uuid PRIMARY KEY REFERENCES puppet (id) ON DELETE CASCADE,
    curve25519 text NOT NULL,
    ed25519 text NOT NULL,
    pickle text NOT NULL,
    identity_sealed bytea NOT NULL,
    device_keys jsonb NOT NULL,         -- public and signed, as uploaded
    fallback_pending jsonb,             -- a fallback key that the homeserver may not have yet
    created_at timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz            -- identity and device keys are at the homeserver
);

-- People of whom we know the devices. `version` moves whenever the set of devices that may get keys moves;
-- `fetched` < `changed`: the homeserver has told of a change that we have not looked at.
CREATE TABLE crypto_user (
    user_id text PRIMARY KEY,
    state text NOT NULL DEFAULT 'new' CHECK (state IN ('new', 'pinned', 'changed')),
    master_key text,                    -- pinned on first use; NULL: has no cross-signing identity
    offered_master_key text,            -- what the homeserver says now
    version bigint NOT NULL DEFAULT 1,
    changed bigint NOT NULL DEFAULT 1,
    fetched bigint NOT NULL DEFAULT 0,
    fetched_at timestamptz
);

-- Devices that are gone stay: their last messages may still have to be recognised.
CREATE TABLE crypto_device (
    user_id text NOT NULL REFERENCES crypto_user (user_id) ON DELETE CASCADE,
    device_id text NOT NULL,
    curve25519 text NOT NULL,
    ed25519 text NOT NULL,
    signed boolean NOT NULL,            -- by the self-signing key of the identity offered
    gone boolean NOT NULL DEFAULT false,
    PRIMARY KEY (user_id, device_id)
);
CREATE INDEX crypto_device_curve ON crypto_device (user_id, curve25519);

CREATE TABLE olm_session (
    puppet_id uuid NOT NULL REFERENCES puppet (id) ON DELETE CASCADE,
    their_key text NOT NULL,            -- the other device's curve25519
    session_id text NOT NULL,
    pickle text NOT NULL,
    used_at timestamptz NOT NULL,       -- last made or received on: the newest is the one to send with
    PRIMARY KEY (puppet_id, their_key, session_id)
);

-- When we last replaced an Olm session that seemed broken: at most once an hour a device.
CREATE TABLE olm_replacement (
    puppet_id uuid NOT NULL REFERENCES puppet (id) ON DELETE CASCADE,
    user_id text NOT NULL,
    device_id text NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (puppet_id, user_id, device_id)
);

-- Sessions that others encrypt with. `user_id` sent the key; whose device it was is settled on first use.
CREATE TABLE megolm_inbound (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    room_id text NOT NULL,
    session_id text NOT NULL,
    user_id text NOT NULL,
    sender_key text NOT NULL,
    signing_key text NOT NULL,
    first_index bigint NOT NULL,
    pickle text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (room_id, session_id, user_id)
);

-- Every index that an event has taken, for ever: a second event on it is a replay.
CREATE TABLE megolm_index (
    session bigint NOT NULL REFERENCES megolm_inbound (id) ON DELETE CASCADE,
    index bigint NOT NULL,
    event_id text NOT NULL,
    PRIMARY KEY (session, index)
);

CREATE TABLE megolm_withheld (
    room_id text NOT NULL,
    session_id text NOT NULL,
    user_id text NOT NULL,
    code text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (room_id, session_id, user_id)
);

-- The session that a puppet encrypts with in a leg. `shared_version`: the version of crypto_user for which every
-- device that may have the key has got it; NULL: not yet.
CREATE TABLE megolm_outbound (
    leg_id uuid NOT NULL REFERENCES leg (id) ON DELETE CASCADE,
    puppet_id uuid NOT NULL REFERENCES puppet (id) ON DELETE CASCADE,
    room_id text NOT NULL,
    user_id text NOT NULL REFERENCES crypto_user (user_id),
    session_id text NOT NULL,
    pickle text NOT NULL,
    next_index int NOT NULL DEFAULT 0,
    shared_version bigint,
    retry_at timestamptz,               -- a device had no one-time key to give: look again then
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (leg_id, puppet_id)
);
CREATE INDEX megolm_outbound_user ON megolm_outbound (user_id);

-- Which device got the key of the current session, from which index; the ciphertext until it has gone out.
CREATE TABLE megolm_share (
    leg_id uuid NOT NULL,
    puppet_id uuid NOT NULL,
    device_id text NOT NULL,
    curve25519 text NOT NULL,
    key_sealed bytea NOT NULL,          -- the session key as shared, for a device that lost it
    txn_id text,
    content jsonb,
    sent_at timestamptz,
    PRIMARY KEY (leg_id, puppet_id, device_id),
    FOREIGN KEY (leg_id, puppet_id) REFERENCES megolm_outbound (leg_id, puppet_id) ON DELETE CASCADE
);

-- migrate: rollback

DROP TABLE megolm_share, megolm_outbound, megolm_withheld, megolm_index, megolm_inbound, olm_replacement,
    olm_session, crypto_device, crypto_user, crypto_account;
