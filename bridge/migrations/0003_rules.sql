-- Rosters that change, groups, settings, blasts, revocation, notifications, the audit trail
-- depends: 0002_crypto

-- migrate: apply

ALTER TABLE member
    ADD COLUMN ended text CHECK (ended IN ('removed', 'left')),
    ADD COLUMN ended_by uuid REFERENCES person (id),
    ADD COLUMN muted boolean NOT NULL DEFAULT false;        -- no notifications of this conversation (N2)

ALTER TABLE conversation
    ADD COLUMN told_at timestamptz,         -- when the organiser confirmed that clients know of each other (C6)
    ADD COLUMN told_by uuid REFERENCES person (id),
    ADD COLUMN closed_by uuid REFERENCES person (id),
    ADD COLUMN answered boolean NOT NULL DEFAULT false;     -- a client has written: a blast's thread leaves its group
CREATE UNIQUE INDEX conversation_one_care ON conversation (organiser_id) WHERE kind = 'client_care';

ALTER TABLE leg
    ADD COLUMN seats_due boolean NOT NULL DEFAULT false,    -- somebody has to join, leave or be frozen
    ADD COLUMN silenced boolean NOT NULL DEFAULT false,     -- the member's chat is off: nothing new goes there (P5)
    ADD COLUMN frozen_at timestamptz;                       -- can be read, not written in (C15)
CREATE INDEX leg_seats_due ON leg (next_attempt_at) WHERE seats_due;

ALTER TABLE occupant ADD COLUMN leaving boolean NOT NULL DEFAULT false;

-- Taking a leg back, a durable step at a time (C11). 'left': the client went by themselves, nothing is taken back.
CREATE TABLE revocation (
    leg_id uuid PRIMARY KEY REFERENCES leg (id),
    conversation_id uuid NOT NULL REFERENCES conversation (id),
    person_id uuid NOT NULL REFERENCES person (id),
    user_id text NOT NULL,
    room_id text,
    step text NOT NULL DEFAULT 'redact' CHECK (step IN ('redact', 'kick', 'wait', 'media', 'purge', 'done')),
    keeps_copy boolean NOT NULL DEFAULT false,
    events int,                             -- to redact, once counted
    redacted int NOT NULL DEFAULT 0,
    cursor text,                            -- how far back the room has been gone through; NULL: look anew
    kicked_at timestamptz,
    devices_waiting int,
    wait_until timestamptz,
    media_deleted int NOT NULL DEFAULT 0,
    purge_id text,
    attempts int NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    error text,
    started_at timestamptz NOT NULL DEFAULT now(),
    done_at timestamptz
);
CREATE INDEX revocation_due ON revocation (next_attempt_at) WHERE step <> 'done';
CREATE INDEX revocation_conversation ON revocation (conversation_id);

-- Media of a leg's room, ours and those that its client named, to be deleted with it.
CREATE TABLE leg_media (
    leg_id uuid NOT NULL REFERENCES leg (id),
    mxc text NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (leg_id, mxc)
);

-- The devices that spoke in a leg without their owner's identity having signed them: said once each.
CREATE TABLE unverified_told (
    leg_id uuid NOT NULL REFERENCES leg (id) ON DELETE CASCADE,
    device_id text NOT NULL,
    PRIMARY KEY (leg_id, device_id)
);

CREATE TABLE client_group (
    id uuid PRIMARY KEY,
    platform_id text NOT NULL UNIQUE,
    name_sealed bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE client_group_member (
    group_id uuid NOT NULL REFERENCES client_group (id) ON DELETE CASCADE,
    person_id uuid NOT NULL REFERENCES person (id),
    PRIMARY KEY (group_id, person_id)
);
CREATE INDEX client_group_member_person ON client_group_member (person_id);

-- The two switches at three levels; a missing row says nothing, 'everyone' is on unless a row says off (P5).
CREATE TABLE chat_setting (
    switch text NOT NULL CHECK (switch IN ('direct_messaging', 'community_chat')),
    level text NOT NULL CHECK (level IN ('client', 'group', 'everyone')),
    person_id uuid REFERENCES person (id),
    group_id uuid REFERENCES client_group (id) ON DELETE CASCADE,
    is_on boolean NOT NULL,
    changed_by uuid REFERENCES person (id),
    changed_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((level = 'client') = (person_id IS NOT NULL) AND (level = 'group') = (group_id IS NOT NULL))
);
CREATE UNIQUE INDEX chat_setting_one ON chat_setting (switch, level, person_id, group_id) NULLS NOT DISTINCT;

CREATE TABLE blast (
    id uuid PRIMARY KEY,
    organiser_id uuid NOT NULL REFERENCES person (id),
    wrapped_key bytea,
    title_sealed bytea,
    content_sealed bytea NOT NULL,
    state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'stopped', 'done')),
    request_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz
);
CREATE UNIQUE INDEX blast_request ON blast (organiser_id, request_id) WHERE request_id IS NOT NULL;
CREATE INDEX blast_running ON blast (created_at) WHERE state = 'running';
CREATE TABLE blast_recipient (
    blast_id uuid NOT NULL REFERENCES blast (id),
    client_id uuid NOT NULL REFERENCES person (id),
    place int NOT NULL,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'started', 'skipped', 'stopped')),
    reason text,                            -- a code: why it was skipped
    conversation_id uuid REFERENCES conversation (id),
    entry_id uuid REFERENCES entry (id),
    PRIMARY KEY (blast_id, client_id)
);
CREATE INDEX blast_recipient_pending ON blast_recipient (blast_id, place) WHERE state = 'pending';
CREATE INDEX blast_recipient_conversation ON blast_recipient (conversation_id);
ALTER TABLE conversation ADD COLUMN blast_id uuid REFERENCES blast (id);
CREATE INDEX conversation_blast ON conversation (organiser_id, blast_id) WHERE blast_id IS NOT NULL AND NOT answered;

-- A client's own direct chat with the assistant: '!help', '!start' (P6, A7). A conversation with one member,
-- whose leg is the room that the client made.
ALTER TABLE conversation DROP CONSTRAINT conversation_kind_check, ADD CONSTRAINT conversation_kind_check
    CHECK (kind IN ('direct', 'community', 'blast', 'staff', 'client_care', 'lobby'));
CREATE TABLE lobby (
    conversation_id uuid PRIMARY KEY REFERENCES conversation (id),
    person_id uuid NOT NULL REFERENCES person (id),
    asked uuid[],                           -- the therapists offered, in their order, while a choice is open
    ended_at timestamptz
);
CREATE UNIQUE INDEX lobby_one ON lobby (person_id) WHERE ended_at IS NULL;

-- Who wants to hear of what (N1, N2); a missing row: everything on.
CREATE TABLE notification_setting (
    person_id uuid PRIMARY KEY REFERENCES person (id),
    direct boolean NOT NULL DEFAULT true,
    community boolean NOT NULL DEFAULT true,
    email boolean NOT NULL DEFAULT true,
    browser boolean NOT NULL DEFAULT true
);

-- One e-mail per stretch of unread messages. A stretch begins with its first message, `since_seq`, and is over as
-- soon as its reader's mark reaches that: nobody has to take the row away, the next stretch takes its place.
CREATE TABLE unread_mail (
    person_id uuid NOT NULL REFERENCES person (id),
    conversation_id uuid NOT NULL REFERENCES conversation (id),
    since_seq bigint NOT NULL,
    unread_since timestamptz NOT NULL DEFAULT now(),
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sending', 'sent', 'failed')),
    attempts int NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    error text,
    message_id text,                        -- the mail's own Message-ID: the same in every attempt
    PRIMARY KEY (person_id, conversation_id)
);
CREATE INDEX unread_mail_due ON unread_mail (unread_since) WHERE state IN ('waiting', 'sending');

-- Append-only; chained a moment after (S3): `place` in the chain, `link` a MAC over the link before and the row.
-- Ids and codes, never content.
CREATE TABLE audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor_id uuid,
    action text NOT NULL,
    conversation_id uuid,
    subject_id uuid,
    detail jsonb NOT NULL DEFAULT '{}',
    place bigint UNIQUE,
    link bytea
);
CREATE INDEX audit_unlinked ON audit (id) WHERE link IS NULL;
CREATE INDEX audit_conversation ON audit (conversation_id, id DESC);
CREATE INDEX audit_actor ON audit (actor_id, id DESC);
CREATE INDEX audit_read ON audit (conversation_id, actor_id, at) WHERE action = 'read';
CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.link IS NULL AND NEW.link IS NOT NULL AND OLD.place IS NULL
        AND (OLD.id, OLD.at, OLD.action, OLD.detail) = (NEW.id, NEW.at, NEW.action, NEW.detail)
        AND OLD.actor_id IS NOT DISTINCT FROM NEW.actor_id
        AND OLD.conversation_id IS NOT DISTINCT FROM NEW.conversation_id
        AND OLD.subject_id IS NOT DISTINCT FROM NEW.subject_id THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the audit trail is append-only';
END $$;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON audit
    FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER audit_not_emptied BEFORE TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();

-- Deleted messages are kept for a time so that Client Care can restore them (M8), then erased.
ALTER TABLE entry
    DROP CONSTRAINT entry_kind_check,
    ADD CONSTRAINT entry_kind_check CHECK (kind IN
        ('message', 'edit', 'deletion', 'restoration', 'reaction', 'reaction_removed', 'notice')),
    ADD COLUMN erase_at timestamptz,
    ADD COLUMN restored_at timestamptz,
    ADD COLUMN restored_by uuid REFERENCES person (id);
UPDATE entry SET erase_at = deleted_at + interval '30 days' WHERE kind = 'message' AND deleted_at IS NOT NULL;
CREATE INDEX entry_to_erase ON entry (erase_at) WHERE erase_at IS NOT NULL AND sealed IS NOT NULL;

-- migrate: rollback

DROP INDEX entry_to_erase, conversation_one_care;
DELETE FROM delivery d USING entry e WHERE e.id = d.entry_id AND e.kind = 'restoration';
DELETE FROM entry WHERE kind = 'restoration';
ALTER TABLE entry DROP COLUMN erase_at, DROP COLUMN restored_at, DROP COLUMN restored_by,
    DROP CONSTRAINT entry_kind_check,
    ADD CONSTRAINT entry_kind_check CHECK (kind IN
        ('message', 'edit', 'deletion', 'reaction', 'reaction_removed', 'notice'));
DROP TABLE audit, unread_mail, notification_setting, lobby;
DROP FUNCTION audit_is_append_only;
ALTER TABLE conversation DROP COLUMN blast_id, DROP COLUMN told_at, DROP COLUMN told_by, DROP COLUMN closed_by,
    DROP COLUMN answered;
DROP TABLE blast_recipient, blast, chat_setting, client_group_member, client_group, unverified_told,
    leg_media, revocation;
ALTER TABLE occupant DROP COLUMN leaving;
ALTER TABLE leg DROP COLUMN seats_due, DROP COLUMN silenced, DROP COLUMN frozen_at;
ALTER TABLE member DROP COLUMN ended, DROP COLUMN ended_by, DROP COLUMN muted;
