"""`privity models`."""

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from privity.catalogue.model import TASKS
from privity.cli import _logging, _ui
from privity.cli._mesh import read_ca
from privity.cli._program import GATEWAY, PROXY, base_url
from privity.cli.models import record, text
from privity.cli.models.api import Answer, ModelsApi
from privity.cli.models.feed import Feed, Listing, read_plainly
from privity.cli.models.output import JsonLines, Lines, Screen, is_drawable
from privity.cli.models.rows import Details, parse_details
from privity.cli.models.vouched import FULL, Judge
from privity.cli.models.watch import until_stopped, watch
from privity.cli.proxy import read_key
from privity.errors import StartError, UpstreamProtocolError, printable

_EXAMPLES = """\
examples:
  privity models --task embed                 those that make embeddings
  privity models --watch                      a table that stays true
  privity models show smollm2-135m-instruct   all that is known of one"""


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "models",
        help="list the models that can be called now, watch them, or show one",
        description="List the models of a running proxy or gateway, watch them, or show one of them.",
        epilog=_EXAMPLES,
    )
    parser.add_argument("--task", choices=TASKS, help="only models that can do this")
    parser.add_argument("--owned-by", metavar="NAME", help="only models of this owner")
    parser.add_argument("-q", metavar="TEXT", help="only models with this in an ID, their name or their owner")
    parser.add_argument("--watch", action="store_true", help="show what changes as it changes, until Ctrl-C")
    _add_server_options(parser)
    parser.set_defaults(
        run=run, base_url=None, api_key=None, json=False, at_gateway=False, mesh_ca=None, show=False, id=None
    )
    actions = parser.add_subparsers(title="commands", metavar="[show ID]")
    show: argparse.ArgumentParser = actions.add_parser(
        "show",
        help="show all that is known of one model",
        description="Show all that is known of one model, and where each capability comes from.",
    )
    show.add_argument("id", metavar="ID", help="its ID or one of its aliases")
    _add_server_options(show)
    show.set_defaults(show=True)


def _add_server_options(parser: argparse.ArgumentParser) -> None:
    """Add what both forms have. None has a default here: the second parser's would hide what the first one read."""
    text = f"the proxy (default: {PROXY}; with --at-gateway {GATEWAY})"
    unset = argparse.SUPPRESS
    parser.add_argument("--base-url", type=base_url, metavar="URL", default=unset, help=text)
    parser.add_argument("--api-key", metavar="KEY", default=unset, help="the API key, or @FILE that holds it")
    parser.add_argument("--json", action="store_true", default=unset, help="print the API's answer as it is")
    text = "ask a gateway, whose word nobody has verified, in place of a proxy"
    parser.add_argument("--at-gateway", action="store_true", default=unset, help=text)
    text = "with --at-gateway: verify by this CA of the deployment what the gateway says"
    parser.add_argument("--mesh-ca", type=Path, metavar="FILE", default=unset, help=text)


def run(arguments: argparse.Namespace) -> int:
    """Print the list or one model; return the exit status."""
    filters = {"task": arguments.task, "owned_by": arguments.owned_by, "q": arguments.q}
    query = {name: value for name, value in filters.items() if value is not None}
    if arguments.show and (arguments.watch or query):
        raise StartError("--watch and filters are for the list.", "Leave them out, or leave out `show`.")
    if arguments.mesh_ca is not None and not arguments.at_gateway:
        problem = "--mesh-ca is of no use with a proxy, which verifies by itself."
        raise StartError(problem, "Leave it out, or add --at-gateway.")
    judge = None if arguments.mesh_ca is None else Judge(read_ca(arguments.mesh_ca))
    key = None if arguments.api_key is None else read_key(arguments.api_key)
    _logging.configure("error", "text")
    return asyncio.run(_run(arguments, query, judge, key))


async def _run(arguments: argparse.Namespace, query: dict[str, str], judge: Judge | None, key: str | None) -> int:
    async with ModelsApi(url_of(arguments), key, "gateway" if arguments.at_gateway else "proxy") as api:
        if arguments.show:
            await _show(api, arguments.id, judge, as_json=arguments.json)
        elif arguments.watch:
            return await _watch(api, query, judge, as_json=arguments.json)
        else:
            await _list(api, query, judge, as_json=arguments.json)
    return 0


def url_of(arguments: argparse.Namespace) -> str:
    """Return whom to ask."""
    url: str = arguments.base_url or (GATEWAY if arguments.at_gateway else PROXY)
    return url.removesuffix("/v1")


async def _list(api: ModelsApi, query: Mapping[str, str], judge: Judge | None, *, as_json: bool) -> None:
    answer = await api.list(query if judge is None else FULL)
    if as_json and judge is None:
        _say_answer(answer)
        return
    try:
        listing = await read_plainly(answer) if judge is None else await judge.read(answer, query)
    except UpstreamProtocolError as error:
        raise api.problem(error) from error
    if as_json:
        _say_json({"object": "list", "data": list(listing.rows.values()), "dropped": listing.whys})
        return
    rows = listing.rows.values()
    _ui.say(_ui.models_table(rows, vouched=judge is not None) if rows else _nothing(query))
    notes = [text.dropped_note(answer.dropped), *text.dropped_lines(listing.whys), *_notes(api, judge)]
    if any(notes):
        _ui.say("\n" + "\n".join(printable(each) for each in notes if each))


def _nothing(query: Mapping[str, str]) -> str:
    return text.NO_MATCH if query else text.NOTHING


def _notes(api: ModelsApi, judge: Judge | None) -> list[str]:
    if api.what == "proxy":
        return []
    return [text.UNVERIFIED if judge is None else text.VERIFIED]


async def _show(api: ModelsApi, asked: str, judge: Judge | None, *, as_json: bool) -> None:
    answer = await api.retrieve(asked, FULL)
    try:
        asked_verified = None
        if judge is not None:
            judged, asked_verified = await judge.read_one(answer, asked)
            answer = replace(answer, body=json.dumps(judged).encode())
        if as_json:
            _say_answer(answer)
            return
        whole = parse_details(answer.body)
        if judge is None:
            asked_verified = await _is_verified(api, asked, whole)
    except UpstreamProtocolError as error:
        raise api.problem(error) from error
    _ui.say(_ui.block(record.block(whole, asked, asked_verified=asked_verified)))
    if api.what == "gateway":
        _ui.say("\n" + "\n".join(_notes(api, judge)))


async def _is_verified(api: ModelsApi, asked: str, whole: Details) -> bool | None:
    """Return whether the ID that was asked for was signed: the whole record speaks of the canonical one."""
    if asked == whole.id:
        return whole.verified
    return parse_details((await api.retrieve(asked, {})).body).verified


async def _watch(api: ModelsApi, query: dict[str, str], judge: Judge | None, *, as_json: bool) -> int:
    if judge is None:
        feed = Feed(api, query)
    else:

        async def read(answer: Answer) -> Listing:
            return await judge.read(answer, query)

        feed = Feed(api, FULL, read, has_feed=False)
    if as_json or not is_drawable():
        lines = JsonLines() if as_json else Lines(vouched=judge is not None)
        return await until_stopped(watch(api, feed, lines), lambda: None)
    screen = Screen(_notes(api, judge), _nothing(query), vouched=judge is not None)
    try:
        return await until_stopped(watch(api, feed, screen), screen.redraw)
    finally:
        screen.end()


def _say_answer(answer: Answer) -> None:
    text = answer.body.decode(errors="replace")
    if sys.stdout.isatty():
        text = "\n".join(map(printable, text.split("\n")))
    _ui.say(text)


def _say_json(value: object) -> None:
    _ui.say(json.dumps(value))
