"""llama.cpp's server, embedded or remote."""

from collections.abc import Sequence
from typing import Any

from privity.catalogue.model import in_order
from privity.engines.connection import EngineConnection
from privity.engines.engine import Answer, EngineModel, Json
from privity.engines.llama_cpp.choices import for_each_choice
from privity.engines.llama_cpp.completion import as_events, wants_usage
from privity.engines.llama_cpp.constrained import ConstrainedGeneration
from privity.engines.llama_cpp.forced_call import forced_call, forced_choice
from privity.engines.llama_cpp.found_calls import callable_names, with_calls_found
from privity.engines.llama_cpp.structured import structured_answer, wanted_schema
from privity.errors import ContextLengthError, EngineFailedError, InvalidRequestError, UpstreamProtocolError

_CHAT = "/v1/chat/completions"
_EMBEDDINGS = "/v1/embeddings"


class LlamaCppEngine:
    """One llama.cpp server, which serves one model.

    What it says of itself: `GET /props` has the chat template's abilities, the modalities and the context of one slot.
    Only whether it embeds is said nowhere, so it is asked for the embedding of one token: a server for chat answers 501.
    """

    def __init__(self, connection: EngineConnection) -> None:
        self._connection = connection
        self._seen: Json | None = None
        self._models: tuple[EngineModel, ...] = ()
        self._context = 0

    async def describe(self) -> tuple[EngineModel, ...]:
        """Return the model; raises as `Engine.describe`."""
        rows = (await self._connection.ask_object("GET", "/v1/models")).get("data")
        if not isinstance(rows, list) or not rows or not isinstance(rows[0], dict):
            raise UpstreamProtocolError("the engine lists no model")
        row = {key: rows[0].get(key) for key in ("id", "meta")}
        if row != self._seen:
            self._models = (await self._ask_all(str(row["id"])),)
            self._seen = row
        return self._models

    async def _ask_all(self, name: str) -> EngineModel:
        props = await self._connection.ask_object("GET", "/props")
        status, _ = await self._connection.ask("POST", _EMBEDDINGS, {"input": "a"})
        self._context = int(props["default_generation_settings"]["n_ctx"])
        if status == 200:
            return EngineModel(name, ("embed",), self._context)
        tasks = ["generate"]
        if props.get("chat_template_caps", {}).get("supports_tools"):
            tasks.append("tool_calling")
        if props.get("modalities", {}).get("vision"):
            tasks.append("vision")
        return EngineModel(name, in_order(tasks), self._context)

    async def answer(self, endpoint: str, body: Json) -> Answer:
        """Carry out one request; raises as `Engine.answer`."""
        match endpoint:
            case "/v1/embeddings":
                return await self._embed(body)
            case "/v1/chat/completions":
                return await for_each_choice(self._chat, body)
            case _:
                _check_completion(body)
                return await for_each_choice(self._complete, body)

    async def _complete(self, body: Json) -> Answer:
        return await self._native("/v1/completions", body)

    async def _chat(self, body: Json) -> Answer:
        body = body | {"messages": [_plain_role(message) for message in body["messages"]]}
        name = forced_choice(body)
        if name is not None:
            completion = await forced_call(self._generation, body, name, body["model"])
            if not body.get("stream"):
                return completion
            return as_events(completion, with_usage=wants_usage(body))
        schema = wanted_schema(body)
        if schema is not None:
            if body.get("tools"):
                raise InvalidRequestError(
                    "This engine takes `tools` or a JSON `response_format`, not both.", param="response_format"
                )
            return await structured_answer(self._generation, body, schema, body["model"])
        return with_calls_found(await self._native(_CHAT, body), callable_names(body))

    @property
    def _generation(self) -> ConstrainedGeneration:
        return ConstrainedGeneration(self._connection, self._context)

    async def _native(self, endpoint: str, body: Json) -> Answer:
        if body.get("stream"):
            return await self._connection.events(endpoint, body)
        return await self._connection.call(endpoint, body)

    async def _embed(self, body: Json) -> Json:
        try:
            return await self._connection.call(_EMBEDDINGS, body)
        except EngineFailedError:
            # The server answers 500 to an input that is too long: find out whether that is it.
            await self._check_lengths(body["input"])
            raise

    async def _check_lengths(self, given: str | Sequence[Any]) -> None:
        single = isinstance(given, str) or all(isinstance(each, int) for each in given)
        for index, each in enumerate([given] if single else given):
            length = len(each)
            if isinstance(each, str):
                counted = await self._connection.call("/tokenize", {"content": each, "add_special": True})
                length = len(counted.get("tokens", ()))
            if length > self._context:
                where = "`input`" if single else f"`input[{index}]`"
                raise ContextLengthError(
                    f"{where} has {length} tokens; the model takes {self._context}. Split it into shorter pieces.",
                    param="input",
                )


def _plain_role(message: Json) -> Json:
    """Return a message under a role that chat templates know: `developer` is OpenAI's newer name for `system`."""
    return message | {"role": "system"} if message["role"] == "developer" else message


def _check_completion(body: Json) -> None:
    """Refuse what the server's completion endpoint would ignore, or answer in a form of its own."""
    for name in ("echo", "suffix", "logprobs", "best_of"):
        if body.get(name):
            raise InvalidRequestError(
                f"This engine doesn't support `{name}`.", param=name, code="unsupported_parameter"
            )
