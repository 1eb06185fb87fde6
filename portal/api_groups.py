"""Groups of clients as the platform knows them: offered in "New", and carrying chat settings (P5).

A PUT says all of it, name and members; the same call twice is the same as once. Whose settings change with
the group is seen to in the same transaction.
"""

from uuid import UUID

from quart import Response
from quart_schema import document_response, tag, validate_request

from bridge import audit, chat_settings, client_groups, people
from bridge.audit import Did
from bridge.database import Transaction, transaction
from bridge.errors import GroupUnknown
from policies.vocabulary import Role
from portal.api import answer, api, not_an_id, problem
from portal.api_models import ErrorSeen, GroupGiven, GroupSeen, is_platform_id
from portal.services import services


@api.put("/groups/<platform_id>")
@validate_request(GroupGiven)
@document_response(GroupSeen, 201)
@document_response(GroupSeen, 200)
@document_response(ErrorSeen, 404)
@document_response(ErrorSeen, 422)
@tag(["groups"])
async def put_group(platform_id: str, data: GroupGiven) -> Response:
    """Create a client group, or give it this name and exactly these members.

    404 when a member isn't known, and 422 when one isn't a client; then nothing has changed.
    """
    if not is_platform_id(platform_id):
        return not_an_id()
    wired = services()
    async with transaction(wired.pool) as tx:
        found = await people.by_platform_ids(tx, set(data.members))
        if unknown := [member for member in data.members if member not in found]:
            more = f" (nor under {len(unknown) - 1} more)" if len(unknown) > 1 else ""
            return problem(
                404, "person_unknown", f"members: there is nobody under {unknown[0]}{more}.", "members"
            )
        if staff := [member for member, (_, role) in found.items() if role is not Role.CLIENT]:
            return problem(422, "not_a_client", f"members: {staff[0]} isn't a client.", "members")
        group, fresh = await client_groups.put(tx, wired.keyring, platform_id=platform_id, name=data.name)
        moved = await client_groups.set_members(tx, group, [person for person, _ in found.values()])
        await chat_settings.silence(tx, moved)
        if fresh or moved:
            await audit.record(tx, Did.GROUP_CHANGED, subject=group, members=len(found), moved=len(moved))
        return answer(await _seen(tx, group, platform_id), 201 if fresh else 200)


@api.get("/groups/<platform_id>")
@document_response(GroupSeen)
@document_response(ErrorSeen, 404)
@tag(["groups"])
async def get_group(platform_id: str) -> Response:
    """A client group with all its members."""
    async with transaction(services().pool) as tx:
        return answer(await _seen(tx, await _find(tx, platform_id), platform_id))


@api.delete("/groups/<platform_id>")
@document_response(GroupSeen)
@document_response(ErrorSeen, 404)
@tag(["groups"])
async def delete_group(platform_id: str) -> Response:
    """Delete a client group with its chat settings, and answer with what it was; its clients stay.

    Deleted already: 404.
    """
    async with transaction(services().pool) as tx:
        group = await _find(tx, platform_id)
        seen = await _seen(tx, group, platform_id)
        members = await client_groups.remove(tx, group)
        await chat_settings.silence(tx, members)
        await audit.record(tx, Did.GROUP_CHANGED, subject=group, members=0, moved=len(members))
        return answer(seen)


async def _find(tx: Transaction, platform_id: str) -> UUID:
    group = await client_groups.find(tx, platform_id) if is_platform_id(platform_id) else None
    if group is None:
        raise GroupUnknown
    return group


async def _seen(tx: Transaction, group: UUID, platform_id: str) -> GroupSeen:
    name, members = await client_groups.told(tx, services().keyring, group)
    return GroupSeen(id=group, platform_id=platform_id, name=name, members=members)
