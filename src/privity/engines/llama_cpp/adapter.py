"""llama.cpp's server, embedded or remote."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from privity.engines.connection import EngineConnection
from privity.engines.engine import (
    OPENAI_ENDPOINTS,
    Answer,
    Body,
    EngineModel,
    Json,
    cannot_count_images,
    require_json,
    values_of,
)
from privity.engines.llama_cpp.choices import for_each_choice
from privity.engines.llama_cpp.completion import as_events, wants_usage, with_usage_apart
from privity.engines.llama_cpp.constrained import ConstrainedGeneration
from privity.engines.llama_cpp.description import Description
from privity.engines.llama_cpp.forced_call import forced_call, forced_choice
from privity.engines.llama_cpp.found_calls import callable_names, with_calls_found
from privity.engines.llama_cpp.images import checked, has_images, with_likely_cause
from privity.engines.llama_cpp.native_chat import asked_for_stop, count_prompt, like_others
from privity.engines.llama_cpp.salted import SaltedCalls
from privity.engines.llama_cpp.slots import SlotTables
from privity.engines.llama_cpp.structured import structured_answer, wanted_schema
from privity.errors import ContextLengthError, EngineFailedError, InvalidRequestError, UnavailableError

_UNDERSTOOD = frozenset(
    {
        *("best_of", "chat_template_kwargs", "echo", "encoding_format", "frequency_penalty", "input", "logit_bias"),
        *("logprobs", "max_completion_tokens", "max_tokens", "messages", "min_p", "model", "n", "parallel_tool_calls"),
        *("presence_penalty", "prompt", "reasoning_effort", "repeat_penalty", "response_format", "seed", "stop"),
        *("stream", "stream_options", "suffix", "temperature", "tool_choice", "tools", "top_k", "top_logprobs"),
        "top_p",
    }
)
"""Members that go on: the server has others of its own, which would get around the checks or show its inside."""

_CHAT = "/v1/chat/completions"
_EMBEDDINGS = "/v1/embeddings"


class LlamaCppEngine:
    """One llama.cpp server, with one model or, as a router, several.

    Args:
        connection: the server.
        now: Unix seconds.
        slots: what is known of its slots.
    """

    def __init__(
        self, connection: EngineConnection, now: Callable[[], float] = time.time, slots: SlotTables | None = None
    ) -> None:
        self._connection = connection
        self._slots = slots or SlotTables()
        self._slots.find_out_again()
        self._description = Description(connection, now)

    async def describe(self) -> tuple[EngineModel, ...]:
        """Return its models; raises as `Engine.describe`."""
        return await self._description.ask()

    def has(self, endpoint: str) -> bool:
        """Return whether it is one of those that are answered here."""
        return endpoint in OPENAI_ENDPOINTS

    async def count_tokens(self, chat: Json, /) -> int:
        """Return the tokens of a chat's prompt; raises as `NativeEngine.count_tokens`."""
        chat = chat | {"messages": checked([_plain_message(message) for message in chat["messages"]])}
        counting = count_prompt(self._connection, chat)
        counted = await (with_likely_cause(counting) if has_images(chat) else counting)
        if counted is None and has_images(chat):
            raise cannot_count_images()
        return counted or (await self._generation(self._calls(None, chat), chat).render(chat)).tokens

    async def answer(self, endpoint: str, body: Body) -> Answer:
        """Carry out one request; raises as `Engine.answer`."""
        given = require_json(endpoint, body, OPENAI_ENDPOINTS)
        known = values_of({key: value for key, value in given.items() if key in _UNDERSTOOD})
        salt: str | None = values_of({"salt": given.get("cache_salt")})["salt"]
        match endpoint:
            case "/v1/embeddings":
                return await self._embed(known)
            case "/v1/chat/completions":
                return await for_each_choice(partial(self._chat, salt), known)
            case _:
                _check_completion(known)
                return await for_each_choice(partial(self._complete, salt), known)

    async def _complete(self, salt: str | None, body: Json) -> Answer:
        answer = await self._native("/v1/completions", body, self._calls(salt, body))
        return answer if isinstance(answer, dict) else with_usage_apart(answer, wanted=wants_usage(body))

    async def _chat(self, salt: str | None, body: Json) -> Answer:
        body = body | {"messages": checked([_plain_message(message) for message in body["messages"]])}
        calls = self._calls(salt, body)
        forced = forced_choice(body)
        schema = wanted_schema(body)
        if (forced or schema) and has_images(body):
            raise InvalidRequestError(
                "This model's engine takes images without a forced `tool_choice` and without a JSON `response_format`.",
                param="messages",
                code="unsupported_parameter",
            )
        if forced is not None:
            completion = await forced_call(self._generation(calls, body), body, forced, body["model"])
            if not body.get("stream"):
                return completion
            return as_events(completion, with_usage=wants_usage(body))
        if schema is not None:
            if body.get("tools"):
                raise InvalidRequestError(
                    "This model's engine takes `tools` or a JSON `response_format`, not both.",
                    param="response_format",
                    code="unsupported_parameter",
                )
            return await structured_answer(self._generation(calls, body), body, schema, body["model"])
        answer = self._native(_CHAT, asked_for_stop(body), calls)
        answered = await (with_likely_cause(answer) if has_images(body) else answer)
        return with_calls_found(like_others(answered, body), callable_names(body))

    def _calls(self, salt: str | None, body: Json) -> SaltedCalls:
        model: str = body["model"]
        slots = self._slots.of(model, self._description.slots_of(model))
        return SaltedCalls(self._connection, slots, salt, body)

    def _generation(self, calls: SaltedCalls, body: Json) -> ConstrainedGeneration:
        model: str = body["model"]
        context = self._description.context_of(model)
        if context is None:
            raise UnavailableError("This model was never loaded yet: a plain request loads it.", param="model")
        return ConstrainedGeneration(self._connection, calls, context, model)

    @staticmethod
    async def _native(endpoint: str, body: Json, calls: SaltedCalls) -> Answer:
        return await (calls.events if body.get("stream") else calls.call)(endpoint, body)

    async def _embed(self, body: Json) -> Json:
        try:
            return await self._connection.call(_EMBEDDINGS, body)
        except EngineFailedError:
            # The server answers 500 to an input that is too long: find out whether that is it.
            await self._check_lengths(body["input"], body.get("model", ""))
            raise

    async def _check_lengths(self, given: str | Sequence[Any], model: str) -> None:
        context = self._description.context_of(model)
        single = isinstance(given, str) or all(isinstance(each, int) for each in given)
        for index, each in enumerate([given] if single else given):
            length = len(each)
            if isinstance(each, str):
                asked = {"model": model, "content": each, "add_special": True}
                counted = await self._connection.call("/tokenize", asked)
                length = len(counted.get("tokens", ()))
            if context is not None and length > context:
                where = "`input`" if single else f"`input[{index}]`"
                raise ContextLengthError(
                    f"{where} has {length} tokens; the model takes {context}. Split it into shorter pieces.",
                    param="input",
                )


def _plain_message(message: Json) -> Json:
    """Return a message as chat templates know it.

    `developer` is OpenAI's newer name for `system`; a refusal is text; a call without arguments has an empty object.
    """
    plain = message | {"role": "system"} if message["role"] == "developer" else dict(message)
    if isinstance(plain.get("content"), list):
        plain["content"] = [
            {"type": "text", "text": part.get("refusal") or ""} if part["type"] == "refusal" else part
            for part in plain["content"]
        ]
    if plain.get("tool_calls"):
        plain["tool_calls"] = [
            call | {"function": call["function"] | {"arguments": call["function"]["arguments"] or "{}"}}
            for call in plain["tool_calls"]
        ]
    return plain


def _check_completion(body: Json) -> None:
    """Refuse what the server's completion endpoint would ignore, or answer in a form of its own."""
    defaults: Json = {"echo": False, "suffix": "", "logprobs": None, "best_of": 1}
    for name, default in defaults.items():
        if body.get(name) not in (None, default):
            raise InvalidRequestError(
                f"This model's engine doesn't support `{name}`.", param=name, code="unsupported_parameter"
            )
