"""Where the e-mail about an unread message leads a client: what to open, and how to sign in again.

Anybody may read it. It names nobody, and asks nothing of whoever comes.
"""

from quart import Blueprint, Response

from portal.services import services
from portal.templating import render

blueprint = Blueprint("how_to", __name__)


@blueprint.get("/how-to-sign-in")
async def how_to_sign_in() -> Response:
    body = render("how_to_sign_in.html", homeserver=services().settings.homeserver_public_url)
    return Response(body, content_type="text/html; charset=utf-8", headers={"X-Robots-Tag": "noindex"})
