"""The answers that list models, as bytes: each a projection of one view (models-api.md)."""

import base64
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

import msgspec

from privity.catalogue import full
from privity.catalogue.catalogue import Entry, Render, View
from privity.catalogue.dialects import anthropic, lm_studio, ollama, openai
from privity.catalogue.encoded import Encoded, Listing
from privity.catalogue.query import Query

_HEAD = b'{"object":"list","data":['
_TAIL = b"]}"
_EVERYTHING = Query()


def select(view: View, query: Query) -> Sequence[Entry]:
    """Return the entries that a query wants."""
    if query.wants_all:
        return view.entries
    return [entry for entry in view.entries if query.matches(entry.model)]


def openai_list(view: View, query: Query) -> Listing:
    """Return OpenAI's list."""
    return Listing(_HEAD, _rows(view, query, openai.row), _TAIL)


def openai_etag(view: View, query: Query) -> str:
    """Return the entity tag of OpenAI's list: remembered where there is no filter, which is what everybody asks for."""
    if not query.wants_all:
        return openai_list(view, query).etag()
    etag = view.etags.get(query)
    if etag is None:
        etag = view.etags[query] = openai_list(view, query).etag()
    return etag


def anthropic_list(view: View, query: Query, paging: anthropic.Paging) -> Listing:
    """Return OpenAI's list as a superset that Anthropic's clients can page through. Raises `InvalidRequestError`."""
    entries = select(view, query)
    ids = [each for entry in entries for each in entry.listed(collapse=query.collapse)]
    rows = [row for entry in entries for row in entry.rows(anthropic.row, collapse=query.collapse).rows]
    page = paging.page(ids)
    shown = ids[page.start : page.stop]
    ends = {"first_id": shown[0] if shown else None, "last_id": shown[-1] if shown else None, "has_more": page.has_more}
    tail = b"]," + msgspec.json.encode(ends).removeprefix(b"{")
    chosen = rows[page.start : page.stop]
    return Listing(_HEAD, [Encoded.of_rows(chosen)] if chosen else [], tail)


def ollama_list(view: View) -> Listing:
    """Return the answer of Ollama's `GET /api/tags`."""
    return Listing(b'{"models":[', _rows(view, _EVERYTHING, ollama.tag), _TAIL)


def lm_studio_list(view: View) -> Listing:
    """Return the answer of LM Studio's `GET /api/v0/models`."""
    return Listing(_HEAD, _rows(view, _EVERYTHING, lm_studio.row), _TAIL)


def full_list(view: View, query: Query = _EVERYTHING) -> Listing:
    """Return whole records, one for each model, with the certificates of those who signed them (`detail=full`)."""
    models = (entry.model for entry in select(view, query))
    statements = [model.statement for model in models if model.statement is not None]
    signers = signers_of({statement.certificate for statement in statements})
    tail = b'],"signers":' + msgspec.json.encode(signers) + b"}"
    return Listing(_HEAD, _rows(view, replace(query, collapse=True), full.row), tail)


def signers_of(certificates: set[bytes]) -> dict[str, str]:
    """Return certificates in DER as base64, each under the name that statements have for it."""
    return {sha256(each).hexdigest(): base64.b64encode(each).decode() for each in sorted(certificates)}


def _rows(view: View, query: Query, render: Render) -> list[Encoded]:
    return [entry.rows(render, collapse=query.collapse) for entry in select(view, query)]
