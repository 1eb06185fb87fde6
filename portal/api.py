"""The platform's way in, `/api/v1`: people, bookings, and how conversations stand. Never what was said.

One bearer token opens all of it, compared in constant time; without it every address here, known or not,
gives the same 401; this description alone is open. Errors are `{"error": {"code", "message", "field"}}`,
limits stand in the schemas.
"""

import hashlib
import hmac
from collections.abc import Mapping

import structlog
from pydantic import BaseModel, ValidationError
from quart import Blueprint, Quart, Response, request
from quart_schema import HttpSecurityScheme, Info, OpenAPIProvider, QuartSchema, RequestSchemaValidationError
from quart_schema import hide as hidden
from werkzeug.exceptions import HTTPException
from werkzeug.routing.rules import Rule

from bridge.database import UNREACHABLE
from bridge.errors import (
    AddressTaken,
    BookingConflict,
    GroupUnknown,
    Invalid,
    PersonUnknown,
    PlatformIdTaken,
    RuhError,
)
from portal.api_models import ErrorDetail, ErrorSeen
from portal.services import services

PREFIX = "/api/v1"
MAX_BODY = 160 * 1024
"""Bytes. The largest valid request, a client group of 1,000, has 128 KiB; the rest is for white space."""

log = structlog.get_logger()
api = Blueprint("api", __name__, url_prefix=PREFIX)


class _ApiOnly(OpenAPIProvider):
    """The portal's pages are not the platform's business."""

    def generate_rules(self) -> list[Rule]:
        return [rule for rule in super().generate_rules() if rule.endpoint.startswith("api.")]


def install(app: Quart) -> None:
    """Give the app the calls and their description at /api/v1/openapi.json.

    No documentation page: the ones that quart-schema brings load scripts from other hosts.
    """
    from portal import api_conversations, api_groups, api_people  # noqa: F401  they add their calls to `api`

    app.register_blueprint(api)
    QuartSchema(
        app,
        openapi_path=f"{PREFIX}/openapi.json",
        swagger_ui_path=None,
        redoc_ui_path=None,
        scalar_ui_path=None,
        info=Info(title="Ruh Chat for the platform", version="1", description=__doc__),
        security_schemes={"token": HttpSecurityScheme(scheme="bearer")},
        security=[{"token": []}],
        openapi_provider_class=_ApiOnly,
    )


def answer(model: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    response = Response(
        model.model_dump_json(), status, mimetype="application/json", headers=dict(headers or {})
    )
    response.headers["Cache-Control"] = "no-store"
    return response


def problem(status: int, code: str, message: str, field: str | None = None) -> Response:
    return answer(ErrorSeen(error=ErrorDetail(code=code, message=message, field=field)), status)


def not_an_id() -> Response:
    return problem(
        422, "invalid", "platform_id: letters, digits and . _ ~ @ + : -, at most 128.", "platform_id"
    )


class Conflict(Exception):
    """What is asked for contradicts what is there; a code, the words, and the field."""

    def __init__(self, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.field = code, message, field


@api.before_request
async def _only_the_platform() -> Response | None:
    if not _authorised(request.headers.get("Authorization", "")):
        refused = problem(401, "unauthorised", "Send the API's token as “Authorization: Bearer …”.")
        refused.headers["WWW-Authenticate"] = "Bearer"
        return refused
    # HTTP/2 and chunked requests need not say how long they are; what they send is counted then.
    if (request.content_length or 0) > MAX_BODY or len(
        body := await request.get_data(as_text=False)
    ) > MAX_BODY:
        return problem(413, "too_large", f"A request can have up to {MAX_BODY} bytes.")
    if body and not request.is_json:
        return problem(415, "not_json", "Send JSON, with the content type application/json.")
    return None


def _authorised(header: str) -> bool:
    scheme, _, given = header.partition(" ")
    expected = services().settings.api_token.get_secret_value()
    # Hashes of both: compare_digest would otherwise tell the length, and refuses text that isn't ASCII.
    same = hmac.compare_digest(_digest(given.strip()), _digest(expected))
    return same and scheme.casefold() == "bearer"


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest()


@api.route("/", defaults={"rest": ""}, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
@api.route("/<path:rest>", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
@hidden
async def _anything_else(rest: str) -> Response:
    return problem(404, "no_such_call", "There is no such call. See openapi.json for those there are.")


_STATUS: Mapping[type[RuhError], tuple[int, str, str | None]] = {
    PersonUnknown: (404, "person_unknown", None),
    GroupUnknown: (404, "group_unknown", None),
    PlatformIdTaken: (409, "platform_id_taken", "platform_id"),
    AddressTaken: (409, "email_taken", "email"),
    BookingConflict: (409, "booking_conflict", "booking_id"),
}


@api.errorhandler(RuhError)
async def _our_own_words(error: RuhError) -> Response:
    if isinstance(error, Invalid):
        return problem(422, error.code, error.message)
    status, code, field = _STATUS.get(type(error), (500, "internal", None))
    if status == 500:
        log.error("api_failed", error=type(error).__name__)
        return problem(500, code, RuhError.default_message())
    return problem(status, code, error.message, field)


@api.errorhandler(Conflict)
async def _contradiction(error: Conflict) -> Response:
    return problem(409, error.code, error.message, error.field)


@api.errorhandler(RequestSchemaValidationError)
async def _not_as_described(error: RequestSchemaValidationError) -> Response:
    reason = error.validation_error
    if not isinstance(reason, ValidationError):
        return problem(400, "malformed", "The request isn't a JSON object.")
    first = reason.errors(include_input=False, include_url=False, include_context=False)[0]
    field = ".".join(str(part) for part in first["loc"])[:100]
    words = first["msg"].removeprefix("Value error, ")
    if not field and ": " in words:  # a rule about the whole says which field it means
        field, _, words = words.partition(": ")
    if not field and first["type"] in ("model_type", "model_attributes_type"):
        return problem(400, "malformed", "The request isn't a JSON object.")
    return problem(422, "invalid", f"{field}: {words}" if field else words, field or None)


@api.errorhandler(RecursionError)
async def _nested_beyond_reason(_: RecursionError) -> Response:
    return problem(400, "malformed", "The request is nested too deeply.")


@api.errorhandler(UnicodeDecodeError)
async def _not_text(_: UnicodeDecodeError) -> Response:
    return problem(400, "malformed", "The request isn't UTF-8.")


@api.errorhandler(HTTPException)
async def _as_json(error: HTTPException) -> Response:
    status = error.code or 500
    known = {
        400: ("malformed", "The request isn't valid JSON."),
        413: ("too_large", f"A request can have up to {MAX_BODY} bytes."),
    }
    code, message = known.get(status, (error.name.lower().replace(" ", "_"), f"{error.name}."))
    return problem(status, code, message)


async def _database_away(error: Exception) -> Response:
    log.warning("api_database_away", error=type(error).__name__)
    response = problem(503, "unavailable", "We can't get at our database at the moment. Please try again.")
    response.headers["Retry-After"] = "5"
    return response


for _kind in UNREACHABLE:
    api.register_error_handler(_kind, _database_away)
