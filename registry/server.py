"""MLflow's server for people who look and a platform that writes.

`mlflow server --app-name crossimpact` serves MLflow's own app with a login (`basic-auth`) behind a
guard. It stands before all that MLflow serves, Flask's routes and FastAPI's, and lets through what
is listed here. A person may read experiments, runs, models and their files, and is told of no other
user. The platform's user, MLflow's administrator, may write those as well, but never to a
place of his choice: an artefact location names a folder of the server's machine.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from http import HTTPStatus
from typing import Any, Protocol

import anyio.to_thread

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOK = ("GET", "HEAD")
CHANGE = ("POST", "PATCH", "PUT", "DELETE")
#: MLflow serves each of its routes below both, to clients and to its own pages.
API = re.compile(r"/(?:ajax-)?api/[23]\.0/(mlflow(?:-artifacts)?/.+)")
#: A segment that names itself: not empty, no way up, nothing left to decode.
PLAIN = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[^/\\%\x00-\x1f\x7f]+)*/?")

#: Asked without a login: whether the server lives, and MLflow's own scripts and pictures.
OPEN = re.compile(r"/health|/favicon\.ico|/static-files/.+")
PAGES = re.compile(r"/|/version|/get-artifact|/model-versions/get-artifact")
READ = re.compile(
    "mlflow/(?:"
    "experiments/(?:get|get-by-name|search)|runs/get|artifacts/list"
    "|metrics/get-history(?:-bulk(?:-interval)?)?"
    "|registered-models/(?:get|search|get-latest-versions|alias)"
    "|model-versions/(?:get|search|get-download-uri)"
    "|users/current(?:/permissions)?|server-info"
    ")|mlflow-artifacts/artifacts(?:/.+)?"
)
#: Searches are sent as POST.
SEARCH = re.compile(r"mlflow/(?:experiments/search(?:-datasets)?|runs/search|logged-models/search)")
WRITE = re.compile(
    r"mlflow/(?:experiments|runs|registered-models|model-versions)/[a-z-]+"
    r"|mlflow/users/(?:create|update-password)|mlflow-artifacts/artifacts/.+"
)
#: Of the above: hands the server's prompts to a language model.
NEVER = re.compile(r".*promptlab.*")

GRAPHQL = "/graphql"
MAX_BODY = 1 << 20
#: What a new experiment or version may say, and which of it is a place.
PLACES = {
    "mlflow/experiments/create": ("artifact_location", {"name", "tags", "artifact_location"}),
    "mlflow/model-versions/create": (
        "source",
        {"name", "source", "run_id", "tags", "run_link", "description", "model_id"},
    ),
}
#: Below the server's own root.
PROXIED = re.compile(r"mlflow-artifacts:(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9_.-]+)+")


class User(Protocol):
    """Who asks, as MLflow knows him."""

    @property
    def username(self) -> str: ...

    @property
    def is_admin(self) -> bool: ...


class Refused(Exception):
    """An answer in place of MLflow's."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        self.status, self.code, self.message = status, code, message


def create_app() -> Guard:
    """The entry point `mlflow.app` of the name `crossimpact`; served by uvicorn alone."""
    from mlflow.server import auth

    # MLflow's own check of a login, which remembers for a minute what took 0.1 s to compute
    return Guard(auth.create_app(), auth._authenticate_cached)


class Guard:
    """Refuses what is not listed, before MLflow sees it; MLflow then asks for the login again.

    Parameters
    ----------
    app
        What is guarded.
    known
        The user of a name and a password, None when MLflow knows no such user.
    """

    def __init__(self, app: Asgi, known: Callable[[str, str], User | None]) -> None:
        self.app, self.known = app, known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
        else:
            try:
                receive = await self.judged(scope, receive)
            except Refused as refusal:
                await _answer(refusal, scope["method"], send)
            else:
                await self.app(scope, receive, send)

    async def judged(self, scope: Scope, receive: Receive) -> Receive:
        """Where the request's body is to be read from; `Refused` when it may not pass."""
        method, path = scope["method"], scope["path"]
        plain = PLAIN.fullmatch(path) is not None
        if plain and method in LOOK and OPEN.fullmatch(path):
            return receive
        user = await anyio.to_thread.run_sync(self._user, scope)
        route = result[1] if (result := API.fullmatch(path)) else ""
        if not plain or not may(user, method, path, route):
            raise Refused(
                HTTPStatus.FORBIDDEN,
                "PERMISSION_DENIED",
                f"user {user.username} may not {method} at endpoint {path}",
            )
        if path == GRAPHQL or (route in PLACES and method in CHANGE):
            body = await _body(receive)
            _only_reads(body) if path == GRAPHQL else _keeps_its_place(route, body)
            return _again(body, receive)
        return receive

    def _user(self, scope: Scope) -> User:
        login = _login([value for name, value in scope["headers"] if name == b"authorization"])
        user = self.known(*login) if login else None
        if user is None:
            raise Refused(
                HTTPStatus.UNAUTHORIZED, "UNAUTHENTICATED", "name and password are not known here"
            )
        return user


def may(user: User, method: str, path: str, route: str) -> bool:
    """Whether a user may send such a request; `route` is what follows MLflow's API prefix."""
    if method in LOOK:
        return bool(PAGES.fullmatch(path) or READ.fullmatch(route))
    if method == "POST" and (path == GRAPHQL or SEARCH.fullmatch(route)):
        return True
    writes = method in CHANGE and WRITE.fullmatch(route) and not NEVER.fullmatch(route)
    return bool(writes and user.is_admin)


def _login(headers: list[bytes]) -> tuple[str, str] | None:
    """Name and password of the one `Authorization: Basic`; two of them are none."""
    if len(headers) != 1:
        return None
    kind, _, coded = headers[0].partition(b" ")
    try:
        plain = base64.b64decode(coded.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    name, colon, password = plain.partition(":")
    return (name, password) if kind.lower() == b"basic" and colon else None


def _only_reads(body: bytes) -> None:
    """Let a GraphQL request pass whose every operation is a query."""
    from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse

    try:
        parts = parse(str(_object(body)["query"])).definitions
    except (GraphQLError, KeyError, RecursionError) as error:
        raise _bad("no GraphQL query") from error
    operations = [part for part in parts if isinstance(part, OperationDefinitionNode)]
    if any(part.operation is not OperationType.QUERY for part in operations):
        raise Refused(
            HTTPStatus.FORBIDDEN, "PERMISSION_DENIED", "nobody changes anything by GraphQL"
        )


def _keeps_its_place(route: str, body: bytes) -> None:
    """Let a new experiment or version pass whose files stay below the server's own root."""
    field, fields = PLACES[route]
    request = _object(body)
    if odd := sorted(set(request) - fields):
        raise _bad(f"{odd[0]} is not a field of {route}")
    place = request.get(field)
    if place and not (isinstance(place, str) and PROXIED.fullmatch(place)):
        raise _bad(f"{field} may only be below this server's own root, mlflow-artifacts:/")


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _bad("the body is not JSON") from error
    if not isinstance(parsed, dict):
        raise _bad("the body is not a JSON object")
    return parsed


def _bad(message: str) -> Refused:
    return Refused(HTTPStatus.BAD_REQUEST, "INVALID_PARAMETER_VALUE", message)


async def _body(receive: Receive) -> bytes:
    """The whole body, which has to be short."""
    chunks, more = [b""], True
    while more:
        message = await receive()
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
        if sum(map(len, chunks)) > MAX_BODY:
            raise Refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "INVALID_PARAMETER_VALUE", "body too long"
            )
    return b"".join(chunks)


def _again(body: bytes, receive: Receive) -> Receive:
    """A source that gives a body that was read already, then what comes after it."""
    left = [body]

    async def replay() -> Message:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive()

    return replay


async def _answer(refusal: Refused, method: str, send: Send) -> None:
    told = {"error_code": refusal.code, "message": refusal.message}
    body = json.dumps(told).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if refusal.status is HTTPStatus.UNAUTHORIZED:
        headers.append((b"www-authenticate", b'Basic realm="mlflow"'))
    await send({"type": "http.response.start", "status": int(refusal.status), "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})
