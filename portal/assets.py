"""Style sheets, modules and htmx: a few files in memory, under an address that changes with their content.

So browsers may keep them for ever, and a page never mixes two versions: modules import each other by
relative addresses, which stay under the same build.
"""

import hashlib
import mimetypes
import os
from dataclasses import dataclass
from pathlib import Path

from quart import Blueprint, Response, abort, current_app

STATIC = Path(__file__).parent / "static"
NODE_MODULES = "RUH_NODE_MODULES"
_VENDOR = {"vendor/htmx.min.js": "htmx.org/dist/htmx.min.js"}

mimetypes.add_type("text/javascript", ".js")
mimetypes.add_type("image/svg+xml", ".svg")

blueprint = Blueprint("assets", __name__)


@dataclass(frozen=True, slots=True)
class Asset:
    body: bytes
    mime: str


class Assets:
    """All static files, read once at start. A missing htmx is a clear error then, not a dead page later."""

    def __init__(self, node_modules: Path | None = None) -> None:
        modules = node_modules or Path(
            os.environ.get(NODE_MODULES) or Path(__file__).parent.parent / "node_modules"
        )
        paths = {str(path.relative_to(STATIC)): path for path in STATIC.rglob("*") if path.is_file()}
        paths |= {name: modules / path for name, path in _VENDOR.items()}
        self._files = {name: _read(path) for name, path in sorted(paths.items())}
        digest = hashlib.sha256()
        for name, asset in self._files.items():
            digest.update(name.encode() + b"\0" + asset.body)
        self.build = digest.hexdigest()[:12]

    def url(self, name: str) -> str:
        if name not in self._files:
            raise KeyError(f"no such static file: {name}")
        return f"/static/{self.build}/{name}"

    def get(self, name: str) -> Asset | None:
        return self._files.get(name)


def _read(path: Path) -> Asset:
    try:
        body = path.read_bytes()
    except OSError as error:
        raise FileNotFoundError(
            f"{path} is missing: run `npm ci`, or set {NODE_MODULES} to where it was run."
        ) from error
    return Asset(body, mimetypes.guess_type(path.name)[0] or "application/octet-stream")


@blueprint.get("/static/<build>/<path:name>")
async def static_file(build: str, name: str) -> Response:
    assets: Assets = current_app.extensions["assets"]
    asset = assets.get(name)
    if asset is None:
        abort(404)
    response = Response(asset.body, mimetype=asset.mime)
    kept = "public, max-age=31536000, immutable" if build == assets.build else "no-cache"
    response.headers["Cache-Control"] = kept
    return response


@blueprint.get("/favicon.ico")
async def favicon() -> Response:
    assets: Assets = current_app.extensions["assets"]
    asset = assets.get("img/icon.svg")
    assert asset is not None
    return Response(asset.body, mimetype=asset.mime, headers={"Cache-Control": "public, max-age=86400"})
