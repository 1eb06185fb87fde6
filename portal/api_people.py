"""People as the platform knows them, by the platform's own ids; the same call twice is the same as once.

The answer that creates somebody carries their activation link, and so does every call that makes a new one;
nothing gives an old link again, because we don't keep it.
"""

from quart import Response
from quart_schema import document_response, tag, validate_request

from bridge import accounts, activation, people
from bridge.activation import Link
from bridge.database import Transaction, transaction
from bridge.errors import PersonUnknown, PlatformIdTaken
from bridge.people import Details
from policies.vocabulary import PersonStatus, Role
from portal.api import Conflict, answer, api, not_an_id, problem
from portal.api_models import (
    AccountSeen,
    ActivationSeen,
    ErrorSeen,
    NameSeen,
    PersonChange,
    PersonGiven,
    PersonGivenWithId,
    PersonSeen,
    is_platform_id,
)
from portal.services import Services, services


@api.post("/people")
@validate_request(PersonGivenWithId)
@document_response(PersonSeen, 201)
@document_response(PersonSeen, 200)
@document_response(ErrorSeen, 409)
@document_response(ErrorSeen, 422)
@tag(["people"])
async def create_person(data: PersonGivenWithId) -> Response:
    """Create a person, or update the one with this platform_id.

    201 with an activation link when they are new, 200 without one when they were there.
    """
    return await _bring(data.platform_id, data)


@api.put("/people/<platform_id>")
@validate_request(PersonGiven)
@document_response(PersonSeen, 201)
@document_response(PersonSeen, 200)
@document_response(ErrorSeen, 409)
@document_response(ErrorSeen, 422)
@tag(["people"])
async def put_person(platform_id: str, data: PersonGiven) -> Response:
    """Create or update a person; the same as POST /people with platform_id in the address."""
    if not is_platform_id(platform_id):
        return not_an_id()
    return await _bring(platform_id, data)


@api.get("/people/<platform_id>")
@document_response(PersonSeen)
@document_response(ErrorSeen, 404)
@tag(["people"])
async def get_person(platform_id: str) -> Response:
    """A person and, for a client, how far their Matrix account is."""
    wired = services()
    async with transaction(wired.pool) as tx:
        return answer(await _seen(tx, await _find(tx, wired, platform_id)))


@api.patch("/people/<platform_id>")
@validate_request(PersonChange)
@document_response(PersonSeen)
@document_response(ErrorSeen, 404)
@document_response(ErrorSeen, 409)
@document_response(ErrorSeen, 422)
@tag(["people"])
async def change_person(platform_id: str, data: PersonChange) -> Response:
    """Change what is given and nothing else."""
    wired = services()
    async with transaction(wired.pool) as tx:
        found = await _find(tx, wired, platform_id)
        if "email" in data.model_fields_set and data.email is None and found.person.role.is_staff:
            return problem(422, "invalid", "email: staff sign in with their e-mail address.", "email")
        await people.update(
            tx,
            wired.keyring,
            found.person.id,
            name=data.name.to_name() if data.name else None,
            email=(data.email or "") if "email" in data.model_fields_set else None,
            time_zone=data.time_zone,
            status=data.status,
        )
        return answer(await _seen(tx, await _find(tx, wired, platform_id)))


@api.post("/people/<platform_id>/archive")
@document_response(PersonSeen)
@document_response(ErrorSeen, 404)
@tag(["people"])
async def archive_person(platform_id: str) -> Response:
    """Archive a person: staff can't sign in any more, clients are left out of new conversations.

    A new booking makes a client active again, and so does PATCH with status active.
    """
    wired = services()
    async with transaction(wired.pool) as tx:
        found = await _find(tx, wired, platform_id)
        await people.update(tx, wired.keyring, found.person.id, status=PersonStatus.ARCHIVED)
        return answer(await _seen(tx, await _find(tx, wired, platform_id)))


@api.post("/people/<platform_id>/activation")
@document_response(PersonSeen, 201)
@document_response(ErrorSeen, 404)
@document_response(ErrorSeen, 409)
@tag(["people"])
async def new_activation(platform_id: str) -> Response:
    """Make a new one-use link to set a password; links made before stop working."""
    wired = services()
    async with transaction(wired.pool) as tx:
        found = await _find(tx, wired, platform_id)
        if found.person.role.is_staff and found.person.status is PersonStatus.ARCHIVED:
            raise Conflict("archived", "Archived staff can't sign in. Make them active first.", "status")
        link = await activation.issue(tx, found.person.id)
        return answer(await _seen(tx, found, link), 201)


async def _bring(platform_id: str, given: PersonGiven) -> Response:
    wired = services()
    for last_try in (False, True):
        try:
            async with transaction(wired.pool) as tx:
                found = await people.find_by_platform_id(tx, wired.keyring, platform_id)
                if found is None:
                    return await _create(tx, wired, platform_id, given)
                return await _update(tx, wired, found, given)
        except PlatformIdTaken:
            # The same call at the same instant was first; now they are there, and this one is an update.
            if last_try:
                raise
    raise AssertionError("either returned or raised")


async def _create(tx: Transaction, wired: Services, platform_id: str, given: PersonGiven) -> Response:
    person_id = await people.create(
        tx,
        wired.keyring,
        platform_id=platform_id,
        role=given.role,
        name=given.name.to_name(),
        email=given.email,
        time_zone=given.time_zone,
        server_name=wired.settings.server_name,
    )
    link = await activation.issue(tx, person_id)
    return answer(await _seen(tx, await people.details(tx, wired.keyring, person_id), link), 201)


async def _update(tx: Transaction, wired: Services, found: Details, given: PersonGiven) -> Response:
    if found.person.role is not given.role:
        raise Conflict("role_conflict", f"This person is a {found.person.role.value} and stays one.", "role")
    await people.update(
        tx,
        wired.keyring,
        found.person.id,
        name=given.name.to_name(),
        email=given.email or "",
        time_zone=given.time_zone,
    )
    return answer(await _seen(tx, await people.details(tx, wired.keyring, found.person.id)))


async def _find(tx: Transaction, wired: Services, platform_id: str) -> Details:
    found = None
    if is_platform_id(platform_id):
        found = await people.find_by_platform_id(tx, wired.keyring, platform_id)
    if found is None:
        raise PersonUnknown
    return found


async def _seen(tx: Transaction, found: Details, link: Link | None = None) -> PersonSeen:
    person = found.person
    account = await accounts.find(tx, person.id) if person.role is Role.CLIENT else None
    return PersonSeen(
        id=person.id,
        platform_id=found.platform_id or "",
        role=person.role,
        status=person.status,
        name=NameSeen(first=person.name.first, last=person.name.last, title=person.name.title),
        email=found.email,
        time_zone=found.time_zone,
        account=account
        and AccountSeen(user_id=account.user_id, state=account.state.value, password_set=account.ready),
        activation=link
        and ActivationSeen(
            url=f"{services().settings.portal_url}/activate/{link.token}", expires_at=link.expires_at
        ),
    )
