"""Bookings in, and how conversations stand out: ids, times and counts, never a word of what was said."""

import base64
import binascii
from datetime import UTC, datetime
from uuid import UUID

from quart import Response
from quart_schema import document_response, tag, validate_querystring, validate_request

from bridge import bookings, conversation_states, people
from bridge.database import transaction
from portal.api import answer, api, problem
from portal.api_models import (
    BookingGiven,
    BookingSeen,
    ConversationSeen,
    ConversationsSeen,
    ConversationsWanted,
    ErrorSeen,
)
from portal.services import services


@api.post("/bookings")
@validate_request(BookingGiven)
@document_response(BookingSeen, 201)
@document_response(BookingSeen, 200)
@document_response(ErrorSeen, 404)
@document_response(ErrorSeen, 409)
@document_response(ErrorSeen, 422)
@tag(["bookings"])
async def report_booking(data: BookingGiven) -> Response:
    """Report a booking: 201 the first time, 200 with the same ids again (another starts_at moves it).

    The first booking of a client with a therapist opens their conversation and sends the therapist's welcome.
    """
    wired = services()
    async with transaction(wired.pool) as tx:
        client = await people.find_by_platform_id(tx, wired.keyring, data.client)
        therapist = await people.find_by_platform_id(tx, wired.keyring, data.therapist)
        for found, field in ((client, "client"), (therapist, "therapist")):
            if found is None:
                return problem(404, "person_unknown", f"{field}: there is nobody under this id.", field)
        assert client is not None
        assert therapist is not None
        outcome = await bookings.report(
            tx,
            wired.keyring,
            platform_booking_id=data.booking_id,
            client=client.person.id,
            therapist=therapist.person.id,
            starts_at=data.starts_at,
            practice=wired.settings.practice_name,
            at=datetime.now(UTC),
        )
    seen = BookingSeen(
        booking_id=data.booking_id,
        conversation_id=outcome.conversation_id,
        new_booking=outcome.new_booking,
        conversation_opened=outcome.opened,
        welcome_sent=outcome.welcomed,
    )
    return answer(seen, 201 if outcome.new_booking else 200)


@api.get("/conversations")
@validate_querystring(ConversationsWanted)
@document_response(ConversationsSeen)
@document_response(ErrorSeen, 422)
@tag(["conversations"])
async def list_conversations(query_args: ConversationsWanted) -> Response:
    """How conversations stand, latest message first; never what was said in them."""
    after = None
    if query_args.cursor is not None:
        after = _read_cursor(query_args.cursor)
        if after is None:
            return problem(422, "invalid", "cursor: isn't one that we gave out.", "cursor")
    async with transaction(services().pool) as tx:
        states = await conversation_states.page(
            tx,
            organiser=query_args.organiser,
            client=query_args.client,
            after=after,
            limit=query_args.limit + 1,
        )
    shown, more = states[: query_args.limit], len(states) > query_args.limit
    return answer(
        ConversationsSeen(
            conversations=[
                ConversationSeen(
                    id=state.id,
                    kind=state.kind,
                    organiser=state.organiser,
                    client=state.client,
                    states=state.words,
                    held=state.held,
                    unread=state.unread,
                    last_message_at=state.last_message_at,
                    created_at=state.created_at,
                )
                for state in shown
            ],
            next=_cursor(shown[-1].ordered_at, shown[-1].id) if more else None,
        )
    )


def _cursor(at: datetime, identity: UUID) -> str:
    return base64.urlsafe_b64encode(f"{at.isoformat()} {identity}".encode()).decode()


def _read_cursor(cursor: str) -> tuple[datetime, UUID] | None:
    try:
        at, _, identity = base64.urlsafe_b64decode(cursor.encode("ascii")).decode("ascii").partition(" ")
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None or not 2000 <= moment.year <= 2200:
            return None
        return moment, UUID(identity)
    except (ValueError, binascii.Error):
        return None
