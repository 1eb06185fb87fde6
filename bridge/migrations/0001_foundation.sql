-- People, conversations, the journal, legs and the outbox
-- depends:

-- migrate: apply

-- Data keys that don't belong to one conversation, wrapped by the master key.
CREATE TABLE sealing_key (
    name text PRIMARY KEY,
    wrapped bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE person (
    id uuid PRIMARY KEY,
    platform_id text UNIQUE,
    role text NOT NULL CHECK (role IN ('client', 'therapist', 'team_member', 'client_care', 'administrator')),
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'archived')),
    name_sealed bytea NOT NULL,
    email_sealed bytea,
    email_lookup bytea UNIQUE,          -- HMAC of the normalised address: sign-in finds it, a dump doesn't tell it
    time_zone text NOT NULL DEFAULT 'UTC',
    welcome_sealed bytea,               -- a therapist's own welcome text (A8)
    password_hash text,                 -- staff only; a client's password is the homeserver's
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX person_role ON person (role, status);

-- A client's Matrix account, brought to what is wanted by the appservice.
CREATE TABLE account (
    person_id uuid PRIMARY KEY REFERENCES person (id),
    user_id text NOT NULL UNIQUE,
    state text NOT NULL DEFAULT 'wanted' CHECK (state IN ('wanted', 'made', 'deactivated')),
    password_sealed bytea,              -- on its way to the homeserver; cleared once it is there
    password_set_at timestamptz,
    attempts int NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    error text
);
CREATE INDEX account_due ON account (next_attempt_at) WHERE state = 'wanted' OR password_sealed IS NOT NULL;

CREATE TABLE activation (
    token_hash bytea PRIMARY KEY,
    person_id uuid NOT NULL REFERENCES person (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at timestamptz
);
CREATE INDEX activation_person ON activation (person_id);

CREATE TABLE portal_session (
    token_hash bytea PRIMARY KEY,
    person_id uuid NOT NULL REFERENCES person (id),
    csrf text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX portal_session_person ON portal_session (person_id);

-- Failed sign-ins; `subject` is an HMAC of the account or of the address.
CREATE TABLE sign_in_attempt (
    subject bytea NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sign_in_attempt_subject ON sign_in_attempt (subject, at);

CREATE TABLE conversation (
    id uuid PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('direct', 'community', 'blast', 'staff', 'client_care')),
    organiser_id uuid NOT NULL REFERENCES person (id),
    client_id uuid REFERENCES person (id),          -- the one client of a one-to-one thread
    wrapped_key bytea,                              -- NULL once the conversation has been erased
    title_sealed bytea,                             -- NULL: the default title (C9)
    last_seq bigint NOT NULL DEFAULT 0,
    last_message_id uuid,
    last_message_seq bigint NOT NULL DEFAULT 0,
    last_message_at timestamptz NOT NULL DEFAULT now(),
    welcomed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    closed_at timestamptz
);
CREATE UNIQUE INDEX conversation_one_direct ON conversation (organiser_id, client_id) WHERE kind = 'direct';
CREATE INDEX conversation_client ON conversation (client_id);

CREATE TABLE member (
    id uuid PRIMARY KEY,
    conversation_id uuid NOT NULL REFERENCES conversation (id),
    person_id uuid NOT NULL REFERENCES person (id),
    joined_at timestamptz NOT NULL DEFAULT now(),
    joined_seq bigint NOT NULL DEFAULT 0,           -- may read what has a larger seq (C12)
    removed_at timestamptz,
    removed_seq bigint,
    archived_at timestamptz,
    read_seq bigint NOT NULL DEFAULT 0,
    last_message_at timestamptz NOT NULL DEFAULT now()   -- the conversation's, kept here for the list's index
);
CREATE UNIQUE INDEX member_current ON member (conversation_id, person_id) WHERE removed_at IS NULL;
CREATE INDEX member_list ON member (person_id, last_message_at DESC, conversation_id DESC) WHERE removed_at IS NULL;

CREATE TABLE entry (
    id uuid PRIMARY KEY,
    conversation_id uuid NOT NULL REFERENCES conversation (id),
    seq bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('message', 'edit', 'deletion', 'reaction', 'reaction_removed', 'notice')),
    author_id uuid REFERENCES person (id),          -- NULL: the service itself
    automatic text,                                 -- 'welcome', 'auto_reply', …: sent for its author, not by them
    target_id uuid REFERENCES entry (id),           -- what it edits, deletes, reacts to or replies to
    sealed bytea,
    request_id uuid,                                -- the page's own id of one act of sending
    posted_at timestamptz NOT NULL,
    edit_id uuid,                                   -- on a message: the edit whose words are in force
    deleted_at timestamptz,                         -- on a message or a reaction
    deleted_by uuid REFERENCES person (id),
    UNIQUE (conversation_id, seq)
);
CREATE UNIQUE INDEX entry_request ON entry (author_id, request_id) WHERE request_id IS NOT NULL;
CREATE INDEX entry_timeline ON entry (conversation_id, seq DESC) WHERE kind IN ('message', 'notice');
CREATE INDEX entry_target ON entry (target_id, seq) WHERE kind <> 'message';

-- When a member had read up to an entry; one row each time it moved (M9).
CREATE TABLE receipt (
    conversation_id uuid NOT NULL REFERENCES conversation (id),
    person_id uuid NOT NULL REFERENCES person (id),
    seq bigint NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (conversation_id, person_id, seq)
);

-- Every Matrix user that we act as.
CREATE TABLE puppet (
    id uuid PRIMARY KEY,
    user_id text NOT NULL UNIQUE,
    device_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('assistant', 'face', 'mask')),
    person_id uuid REFERENCES person (id),
    conversation_id uuid REFERENCES conversation (id),
    audience text CHECK (audience IN ('staff', 'client')),
    state text NOT NULL DEFAULT 'wanted' CHECK (state IN ('wanted', 'ready', 'retired')),
    display_name_set bytea,             -- hash of the name that the homeserver has
    sync_token text,
    synced_at timestamptz
);
CREATE UNIQUE INDEX puppet_face ON puppet (person_id) WHERE kind = 'face';
CREATE UNIQUE INDEX puppet_mask ON puppet (person_id, conversation_id, audience) WHERE kind = 'mask';

CREATE TABLE leg (
    id uuid PRIMARY KEY,
    conversation_id uuid NOT NULL REFERENCES conversation (id),
    member_id uuid NOT NULL UNIQUE REFERENCES member (id),
    user_id text NOT NULL,              -- the member's own Matrix user
    shard int NOT NULL DEFAULT 0,
    room_id text UNIQUE,
    state text NOT NULL DEFAULT 'wanted' CHECK (state IN ('wanted', 'open', 'ended')),
    hold text CHECK (hold IN ('no_device', 'identity_changed', 'left')),
    attempts int NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    error text,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX leg_conversation ON leg (conversation_id);
CREATE INDEX leg_user ON leg (user_id);
CREATE INDEX leg_wanted ON leg (next_attempt_at) WHERE state = 'wanted';

-- Who stands for whom in a leg; person_id NULL: the assistant.
CREATE TABLE occupant (
    leg_id uuid NOT NULL REFERENCES leg (id),
    puppet_id uuid NOT NULL REFERENCES puppet (id),
    person_id uuid REFERENCES person (id),
    joined_at timestamptz,
    PRIMARY KEY (leg_id, puppet_id)
);
CREATE INDEX occupant_puppet ON occupant (puppet_id);

-- The outbox: one row per (entry, leg). 'origin': the entry came from this leg's own room.
CREATE TABLE delivery (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    leg_id uuid NOT NULL REFERENCES leg (id),
    entry_id uuid NOT NULL REFERENCES entry (id),
    puppet_id uuid REFERENCES puppet (id),
    state text NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'prepared', 'sent', 'origin', 'failed', 'cancelled')),
    txn_id text,
    payload text,                       -- the event as it will go out; cleared once it has gone
    prepared_at timestamptz,
    attempts int NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    error text,
    event_id text,
    sent_at timestamptz,
    UNIQUE (leg_id, entry_id)
);
CREATE UNIQUE INDEX delivery_event ON delivery (leg_id, event_id) WHERE event_id IS NOT NULL;
CREATE INDEX delivery_entry ON delivery (entry_id);
CREATE INDEX delivery_due ON delivery (leg_id, id) WHERE state IN ('pending', 'prepared');

-- Events of a leg that could not become entries (yet). `raw` is what the homeserver gave: ciphertext.
CREATE TABLE parked_event (
    room_id text NOT NULL,
    event_id text NOT NULL,
    leg_id uuid REFERENCES leg (id),
    sender text NOT NULL,
    reason text NOT NULL,
    raw text NOT NULL,                  -- text: jsonb refuses what JSON allows, such as \u0000
    session_id text,                    -- the Megolm session that it waits for
    notice_id uuid REFERENCES entry (id),   -- what the portal shows of it meanwhile (M13)
    received_at timestamptz NOT NULL DEFAULT now(),
    attempts int NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,            -- NULL: nothing more will be tried
    resolved_at timestamptz,
    PRIMARY KEY (room_id, event_id)
);
CREATE INDEX parked_due ON parked_event (next_attempt_at) WHERE resolved_at IS NULL;
CREATE INDEX parked_session ON parked_event (room_id, session_id) WHERE resolved_at IS NULL;

-- A client's file: fetched from the homeserver by the appservice, sealed in chunks for the portal.
CREATE TABLE attachment (
    id uuid PRIMARY KEY,
    conversation_id uuid NOT NULL REFERENCES conversation (id),
    entry_id uuid NOT NULL REFERENCES entry (id),
    state text NOT NULL DEFAULT 'wanted' CHECK (state IN ('wanted', 'stored', 'failed')),
    source_sealed bytea,                -- media address and key, while wanted
    size bigint,
    attempts int NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    error text
);
CREATE INDEX attachment_due ON attachment (next_attempt_at) WHERE state = 'wanted';
CREATE INDEX attachment_entry ON attachment (entry_id);
CREATE TABLE attachment_chunk (
    attachment_id uuid NOT NULL REFERENCES attachment (id) ON DELETE CASCADE,
    n int NOT NULL,
    sealed bytea NOT NULL,
    PRIMARY KEY (attachment_id, n)
);

CREATE TABLE booking (
    platform_id text PRIMARY KEY,
    client_id uuid NOT NULL REFERENCES person (id),
    therapist_id uuid NOT NULL REFERENCES person (id),
    starts_at timestamptz,
    reported_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX booking_pair ON booking (client_id, therapist_id);

-- Where the assistant of a shard is in its sync; the token commits with its effects.
CREATE TABLE shard (
    id int PRIMARY KEY,
    sync_token text,
    epoch bigint NOT NULL DEFAULT 0,
    synced_at timestamptz
);

-- migrate: rollback

DROP TABLE shard, booking, attachment_chunk, attachment, parked_event, delivery, occupant, leg, puppet, receipt,
    entry, member, conversation, sign_in_attempt, portal_session, activation, account, person, sealing_key;
