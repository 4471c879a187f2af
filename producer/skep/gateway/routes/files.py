"""Files of a session: list, get with ranges, put, remove. Bodies are streamed in both directions.

A file is user data: it is sent as a download that no browser shows as a page of the gateway.
"""

import asyncio
import mimetypes
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path as LocalPath
from typing import Annotated, Final
from urllib.parse import quote

from fastapi import APIRouter, Header, Request
from starlette.convertors import Convertor, register_url_convertor
from starlette.responses import Response, StreamingResponse

from skep.files import FilePiece, SessionFiles
from skep.gateway.answers import FilesAnswer, LinkAnswer, file_json, json_response
from skep.gateway.bodies import LinkBody
from skep.gateway.problems import Refused, problem_response
from skep.gateway.ranges import ByteRange, Unsatisfiable, read_range
from skep.gateway.routes.documentation import AnyCaller, FilePath, Reader, Runner, SessionId, problems, session_of
from skep.gateway.tokens.access import Action
from skep_shared.errors import CellFailed, NotFound, OperationFailed
from skep_shared.limits import check_path


class _FilePath(Convertor[str]):
    """The path of a file in a route: also with ends of lines, which Starlette's own `path` stops at."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("file", _FilePath())
router = APIRouter(prefix="/v1/sessions/{session_id}/files", tags=["files"])

IN_MEMORY_BYTES: Final = 256 * 1024
_BINARY: Final = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_ANY: Final = {"*/*": {"schema": {"type": "string", "format": "binary"}}}  # the type is guessed from the name
_RANGE_HEADERS: Final = {
    "Content-Range": {"schema": {"type": "string"}, "description": "the range, and the size of the file"}
}


@router.get(
    "",
    operation_id="getFiles",
    summary="The session's files",
    response_model=FilesAnswer,
    responses=problems(404, 409, 504),
)
async def list_files(session_id: SessionId, caller: Reader) -> Response:
    """Return the files below the session's directory, by path, also while a cell runs."""
    found = await session_of(caller, session_id).files.list()
    return json_response({"files": [file_json(file) for file in found]})


@router.post(
    "/{path:file}:url",
    operation_id="linkFile",
    summary="A link to a file that needs no token, for a time",
    response_model=LinkAnswer,
    responses=problems(400, 404),
)
async def link_file(session_id: SessionId, path: FilePath, body: LinkBody, caller: AnyCaller) -> Response:
    """Return a link for one method of one file, which need not exist. It can't be revoked alone."""
    caller.check_may(Action.READ if body.method == "GET" else Action.RUN)
    check_path("path", path)
    tenant = caller.access.tenant
    link = await caller.gateway.links.sign(
        path, session_id=session_id, tenant=tenant, seconds=body.seconds, method=body.method
    )
    url = f"/v1/sessions/{quote(session_id, safe='')}/files/{quote(path)}?{link.query}"
    return json_response({"url": url, "method": body.method, "expires_at": link.file.expires_at.isoformat()})


@router.get(
    "/{path:file}",
    operation_id="getFile",
    summary="A file, or a range of its bytes",
    response_class=Response,
    responses={
        200: {"description": "The file as it is now.", "content": _ANY},
        206: {"description": "The range.", "content": _ANY, "headers": _RANGE_HEADERS},
        304: {"description": "It still is the one that `If-None-Match` names."},
        **problems(404, 409, 416, 504),
    },
)
async def get_file(
    session_id: SessionId,
    path: FilePath,
    caller: Reader,
    range_: Annotated[
        str | None, Header(alias="Range", examples=["bytes=0-1023"], description="one range of bytes")
    ] = None,
    if_range: Annotated[str | None, Header(description="the range only of the file with this ETag")] = None,
    if_none_match: Annotated[str | None, Header(description="an ETag")] = None,
) -> Response:
    """Return a file as it is at this moment, also while a cell runs; a file that changes meanwhile ends the answer."""
    files = session_of(caller, session_id).files
    first = await files.read_from(path, 0)
    tag = f'"{first.modified_ns:x}-{first.bytes:x}"'
    headers = {
        "ETag": tag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(LocalPath(path).name, safe='')}",
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }
    if if_none_match is not None and tag in [each.strip() for each in if_none_match.split(",")]:
        return Response(status_code=304, headers={"ETag": tag})
    try:
        wanted = read_range(range_, first.bytes) if if_range in {None, tag} else None
    except Unsatisfiable:
        return _no_such_range(range_ or "", first.bytes)
    part = wanted or ByteRange(0, first.bytes)
    headers["Content-Length"] = str(part.end - part.start)
    if wanted is not None:
        headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{first.bytes}"
    kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
    response = StreamingResponse(_pieces(files, path, first, part), 206 if wanted else 200, headers, kind)
    response.headers["Content-Type"] = kind  # without a charset, which isn't known
    return response


@router.head("/{path:file}", include_in_schema=False)
async def head_file(
    session_id: SessionId, path: FilePath, caller: Reader, range_: Annotated[str | None, Header(alias="Range")] = None
) -> Response:
    """Return what a GET would return, without the file."""
    found = await get_file(session_id, path, caller, range_)
    return Response(status_code=found.status_code, headers=dict(found.headers))


@router.put(
    "/{path:file}",
    operation_id="putFile",
    summary="Write a file",
    status_code=204,
    response_class=Response,
    responses={204: {"description": "Written, and saved."}, **problems(400, 404, 409, 410, 504)},
    openapi_extra={"requestBody": {"required": True, "content": _BINARY}},
)
async def put_file(request: Request, session_id: SessionId, path: FilePath, caller: Runner) -> Response:
    """Write a file in one step, also while a cell runs; directories are made as needed, and so is the session.

    The body is the file. Nothing is written if it doesn't arrive completely.
    """
    session = session_of(caller, session_id)
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES) as spool:
        async for piece in request.stream():
            await asyncio.to_thread(spool.write, piece) if len(piece) > IN_MEMORY_BYTES // 4 else spool.write(piece)
        await session.files.put_from(path, spool)
    return Response(status_code=204)


@router.delete(
    "/{path:file}",
    operation_id="removeFile",
    summary="Remove a file or a directory",
    status_code=204,
    response_class=Response,
    responses={204: {"description": "Removed, and saved."}, **problems(404, 409, 410, 504)},
)
async def remove_file(session_id: SessionId, path: FilePath, caller: Runner) -> Response:
    """Remove a file or a directory, by a cell: in its order among the others."""
    session = session_of(caller, session_id)
    await session.info()  # raises NotFound: a cell would create the session
    try:
        await session.files.remove(path)
    except CellFailed as exc:
        if exc.ename == "FileNotFoundError":
            raise NotFound("file", path) from None
        raise OperationFailed(f"{exc.ename}: {exc.evalue}") from exc
    return Response(status_code=204)


async def _pieces(files: SessionFiles, path: str, first: FilePiece, part: ByteRange) -> AsyncIterator[bytes]:
    """Yield a range of a file. Raises OperationFailed if the file changes meanwhile, which ends the answer short."""
    offset, piece = part.start, first
    if offset < len(first.data):
        data = first.data[offset : part.end]
        offset += len(data)
        if data:
            yield data
    while offset < part.end:
        piece = await files.read_from(path, offset)
        if piece.modified_ns != first.modified_ns or not piece.data:
            raise OperationFailed(f"{path!r} was changed while it was read")
        data = piece.data[: part.end - offset]
        offset += len(data)
        yield data


def _no_such_range(range_: str, size: int) -> Response:
    kind = (416, "The file does not have this range", "Ask for a range below the size of the file.")
    refused = Refused("NoSuchRange", kind, f"The file has {size} bytes.", range=range_[:100], size=size)
    return problem_response(refused.problem, headers={"Content-Range": f"bytes */{size}"})
