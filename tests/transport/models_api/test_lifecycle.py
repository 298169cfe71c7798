from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

from hypothesis import given
from hypothesis import strategies as st

from privity.catalogue.model import Lifecycle
from privity.testing.models import ids, moments
from privity.transport.models_api.lifecycle import lifecycle_headers

MAY = datetime(2026, 5, 1, tzinfo=UTC)


def test_what_does_not_end_says_nothing() -> None:
    assert lifecycle_headers(Lifecycle()) == []
    assert lifecycle_headers(Lifecycle(replacement="org/heir")) == []


def test_the_end_is_said_in_the_forms_of_rfc_9745_and_rfc_8594() -> None:
    there = timezone(timedelta(hours=2))
    assert lifecycle_headers(Lifecycle(MAY, MAY.replace(hour=1).astimezone(there), 'org/a"b>\r\nx')) == [
        (b"deprecation", b"@1777593600"),
        (b"sunset", b"Fri, 01 May 2026 01:00:00 GMT"),
        (b"link", b'</v1/models/org%2Fa%22b%3E%0D%0Ax>; rel="successor-version"'),
    ]


@given(st.builds(Lifecycle, st.none() | moments(), st.none() | moments(), st.none() | ids()))
def test_what_is_known_is_said(known: Lifecycle) -> None:
    headers = dict(lifecycle_headers(known))
    assert (b"deprecation" in headers) == (known.deprecated_at is not None)
    assert (b"link" in headers) == (known.replacement is not None and len(headers) > 1)
    sunset = headers.get(b"sunset")
    assert (sunset is None) == (known.retires_at is None)
    if sunset is not None and known.retires_at is not None:
        assert parsedate_to_datetime(sunset.decode()) == known.retires_at.replace(microsecond=0)
