"""A name that changed comes to the homeserver: the face's own, and that of the rooms named after it (C9)."""

import structlog

from appservice import masks
from appservice.context import Context
from appservice.homeserver import HomeserverError
from bridge import legs, people, puppets
from bridge.database import transaction
from bridge.puppets import Puppet
from policies import naming
from policies.vocabulary import Person

log = structlog.get_logger()


async def bring_names(context: Context) -> None:
    """Every face under the name its person has now; costs one query where nothing changed."""
    async with transaction(context.pool) as tx:
        faces = await puppets.faces(tx)
        persons = await people.get_many(
            tx, context.keyring, {face.person_id for face, _ in faces if face.person_id}
        )
    for face, digest in faces:
        person = persons.get(face.person_id) if face.person_id else None
        if person is not None and digest != masks.digest_of(face, person.name.full):
            await _rename(context, face, person)


async def _rename(context: Context, face: Puppet, organiser: Person) -> None:
    """The rooms first: the face's digest says that all of it is done."""
    async with transaction(context.pool) as tx:
        organised = await legs.open_organised_by(tx, organiser.id)
    for leg in organised:
        try:
            content = {"name": naming.room_name(leg.kind, organiser)}
            await context.homeserver.set_state(str(leg.room_id), "m.room.name", "", content, context.acting)
        except HomeserverError as error:
            log.warning("room_not_renamed", leg=str(leg.id), error=error.errcode)
            if error.retry:
                raise
    await masks.rename(context.pool, context.homeserver, face, organiser.name.full)
