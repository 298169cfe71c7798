"""Anthropic's Messages API on an engine that has chats."""

from privity.engines.engine import Answer, Json, NativeEngine
from privity.engines.translation.messages_answer import message_of
from privity.engines.translation.messages_events import message_events
from privity.engines.translation.messages_request import asked_of, chat_of


async def answer_messages(engine: NativeEngine, request: Json) -> Answer:
    """Carry out a request of `/v1/messages`; raises as `Engine.answer`."""
    asked = asked_of(request)
    answer = await engine.answer("/v1/chat/completions", chat_of(request))
    return message_of(answer, asked) if isinstance(answer, dict) else message_events(answer, asked)


async def count_tokens(engine: NativeEngine, request: Json) -> Answer:
    """Carry out a request of `/v1/messages/count_tokens`; raises as `NativeEngine.count_tokens`."""
    return {"input_tokens": await engine.count_tokens(chat_of(request))}
