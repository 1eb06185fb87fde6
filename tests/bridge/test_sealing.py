"""What is sealed opens only with its key and in its place, and a dump of the database says nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import accounts, attachments, conversations, journal, messages, sealing
from bridge.database import Pool, transaction
from bridge.errors import SealBroken
from bridge.sealing import DataKey, Keyring
from policies.content import Notice, Reaction, Text
from policies.vocabulary import EntryKind
from tests.support.thread import NOW, a_thread

OLD, NEW = b"o" * 32, b"n" * 32


@given(plaintext=st.binary(max_size=2000), context=st.text(max_size=40))
def test_what_was_sealed_opens_again(plaintext: bytes, context: str) -> None:
    key = DataKey(b"k" * 32)
    sealed = key.seal(plaintext, context)
    assert key.open(sealed, context) == plaintext
    assert key.seal(plaintext, context) != sealed


@given(plaintext=st.binary(max_size=50), where=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_changed_bit_breaks_the_seal(plaintext: bytes, where: int, bit: int) -> None:
    key = DataKey(b"k" * 32)
    sealed = bytearray(key.seal(plaintext, "here"))
    sealed[where % len(sealed)] ^= 1 << bit
    with pytest.raises(SealBroken):
        key.open(bytes(sealed), "here")


@pytest.mark.parametrize("broken", [b"", b"\x01", b"\x01" * 12, b"\x02" * 60, b"\x01" * 200])
def test_what_is_no_seal_at_all_is_said_to_be_broken(broken: bytes) -> None:
    with pytest.raises(SealBroken):
        DataKey(b"k" * 32).open(broken, "here")
    with pytest.raises(SealBroken):
        Keyring(OLD).unwrap(broken, "here")


def test_another_place_or_another_key_does_not_open() -> None:
    key = DataKey(b"k" * 32)
    sealed = key.seal(b"secret", "here")
    for other, context in ((key, "there"), (DataKey(b"l" * 32), "here")):
        with pytest.raises(SealBroken):
            other.open(sealed, context)


def test_a_key_is_bound_to_what_it_is_for() -> None:
    keyring = Keyring(OLD)
    _, wrapped = keyring.new_key("one")
    with pytest.raises(SealBroken):
        keyring.unwrap(wrapped, "two")
    with pytest.raises(SealBroken):
        Keyring(NEW).unwrap(wrapped, "one")
    with pytest.raises(SealBroken):
        keyring.unwrap(None, "one")


def test_a_rewrapped_key_is_the_same_key() -> None:
    key, wrapped = Keyring(OLD).new_key("one")
    sealed = key.seal(b"kept", "here")
    fresh = Keyring(NEW, [OLD]).rewrap(wrapped, "one")
    assert Keyring(NEW).unwrap(fresh, "one").open(sealed, "here") == b"kept"


def test_derived_keys_differ_by_what_they_are_for() -> None:
    key = DataKey(b"k" * 32)
    derived = {key.derive("a"), key.derive("b"), key.lookup("a", "x"), key.lookup("b", "x"), b"k" * 32}
    assert len(derived) == 5
    assert key.derive("a") == DataKey(b"k" * 32).derive("a")


@pytest.mark.parametrize("wrong", [b"", b"short", b"x" * 31, b"x" * 33])
def test_a_master_key_has_32_bytes(wrong: bytes) -> None:
    with pytest.raises(ValueError, match="32"):
        Keyring(wrong)


async def test_after_a_rotation_the_old_master_key_is_not_needed(pool: Pool) -> None:
    thread = await a_thread(pool, Keyring(OLD))
    await thread.say("from before")
    both = Keyring(NEW, [OLD])
    async with transaction(pool) as tx:
        moved = await sealing.rotate(tx, both)
    assert moved >= 2, "the thread's and the directory's"
    async with transaction(pool) as tx:
        assert await sealing.rotate(tx, both) == 0
    thread.keys = Keyring(NEW)
    assert await thread.bodies() == ["from before"]
    async with transaction(pool) as tx:
        row = await conversations.one(tx, thread.keys, thread.therapist.id, thread.id)
    assert row.title == "Amina Yusuf"
    thread.keys = Keyring(OLD)
    with pytest.raises(SealBroken):
        await thread.bodies()


async def dump(pool: Pool) -> bytes:
    """Every row of every table, as text and as bytes."""
    found = b""
    tables = await pool.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    for table in tables:
        for row in await pool.fetch(f'SELECT * FROM "{table["tablename"]}"'):
            for value in row.values():
                found += value if isinstance(value, bytes) else str(value).encode()
                found += b"\n"
    return found


async def test_a_dump_of_the_database_shows_no_text_no_name_no_address_and_no_key(pool: Pool) -> None:
    thread = await a_thread(pool)
    said = await thread.say("Wednesday is difficult for me")
    async with transaction(pool) as tx:
        email = await tx.fetchval("SELECT email_sealed FROM person WHERE id = $1", thread.therapist.id)
        await conversations.rename(
            tx, thread.keys, actor=thread.therapist.id, conversation=thread.id, title="Difficult Wednesdays"
        )
        await accounts.request_password(tx, thread.keys, thread.client.id, "passphrase for Wednesdays")
    assert email
    edit = {"author": thread.therapist.id, "entry": said.entry_id}
    await thread.act(messages.edit, content=Text("Wednesday is easier"), **edit)
    await thread.act(
        messages.react, author=thread.client.id, entry=said.entry_id, reaction=Reaction("sunshine")
    )
    heard = await thread.hear("Here is my diary of sorrow", "$event")
    file = {"url": "mxc://ruh.test/abcdefsecret", "key": {"k": "c2VjcmV0LWtleQ"}}
    async with transaction(pool) as tx:
        await attachments.want(tx, thread.keys, thread.id, heard.entry_id, file)
        wrapped = await tx.fetchval("SELECT wrapped_key FROM conversation WHERE id = $1", thread.id)
        key = thread.keys.unwrap(wrapped, str(thread.id))
        draft = journal.Draft(EntryKind.NOTICE, NOW, Notice("undecryptable", {"reason": "sorrow"}))
        await journal.append(tx, key, thread.id, draft)
    everything = (await dump(pool)).lower()
    assert str(thread.id).encode() in everything, "it is a dump"
    secrets = [
        "wednesday", "difficult", "sunshine", "sorrow", "diary", "amina", "yusuf", "sara", "khan",
        "passphrase", "@ruh.test\n", "abcdefsecret", "c2vjcmv0", "undecryptable",
    ]  # fmt: skip
    assert [word for word in secrets if word.encode() in everything] == []
    assert b"m" * 32 not in everything, "the master key"
    assert key._key.lower() not in everything, "the thread's key"
