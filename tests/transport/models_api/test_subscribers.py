import pytest

from privity.errors import TooManyRequestsError
from privity.http import Headers
from privity.transport.models_api.subscribers import Subscribers

MINE: Headers = [(b"authorization", b"Bearer mine")]
YOURS: Headers = [(b"x-api-key", b"yours")]


async def test_there_are_so_many_places_and_each_can_be_given_back() -> None:
    subscribers = Subscribers(most=2)
    first, _ = subscribers.take([]), subscribers.take(MINE)
    with pytest.raises(TooManyRequestsError) as caught:
        subscribers.take([])
    assert dict(caught.value.headers)[b"retry-after"].isdigit()
    await first.aclose()
    await first.aclose()  # a second time does nothing
    subscribers.take([])
    with pytest.raises(TooManyRequestsError):
        subscribers.take([])


async def test_one_key_does_not_take_the_places_of_others() -> None:
    subscribers = Subscribers(most=10, most_of_key=2)
    first, _ = subscribers.take(MINE), subscribers.take(MINE)
    with pytest.raises(TooManyRequestsError):
        subscribers.take(MINE)
    for _ in range(2):
        subscribers.take(YOURS)
    for _ in range(4):
        subscribers.take([])  # without a key there is only the limit of all
    await first.aclose()
    subscribers.take(MINE)
