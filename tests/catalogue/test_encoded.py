import json

from hypothesis import given
from hypothesis import strategies as st

from privity.catalogue.encoded import Encoded, Listing

ROWS = st.lists(st.fixed_dictionaries({"id": st.text(max_size=3)}, optional={"x": st.integers(0, 2)}), max_size=4)
PARTS = st.lists(ROWS.filter(bool).map(Encoded.of), max_size=3)
LISTINGS = st.builds(Listing, st.sampled_from([b"[", b'{"data":[']), PARTS, st.sampled_from([b"]", b'],"more":1}']))


@given(ROWS)
def test_rows_are_json_and_stand_side_by_side(rows: list[dict[str, object]]) -> None:
    encoded = Encoded.of(rows)
    assert [json.loads(each) for each in encoded.rows] == rows
    assert encoded.joined == b",".join(encoded.rows)
    assert Encoded.of_rows(encoded.rows) == encoded


@given(LISTINGS)
def test_a_body_is_its_head_its_rows_and_its_tail(listing: Listing) -> None:
    rows = b",".join(row for part in listing.parts for row in part.rows)
    assert listing.body() == listing.head + rows + listing.tail


# models-api.md item 10
@given(LISTINGS, LISTINGS)
def test_two_tags_differ_exactly_where_the_bodies_do(one: Listing, other: Listing) -> None:
    assert (one.etag() == other.etag()) == (one.body() == other.body())


@given(LISTINGS)
def test_a_tag_does_not_depend_on_how_rows_are_cut_into_parts(listing: Listing) -> None:
    rows = [row for part in listing.parts for row in part.rows]
    single = Listing(listing.head, [Encoded.of_rows([row]) for row in rows], listing.tail)
    whole = Listing(listing.head, [Encoded.of_rows(rows)] if rows else [], listing.tail)
    assert listing.etag() == single.etag() == whole.etag()


@given(LISTINGS)
def test_a_tag_is_strong_and_has_nothing_that_a_list_of_tags_could_be_cut_at(listing: Listing) -> None:
    tag = listing.etag()
    assert tag[0] == tag[-1] == '"'
    assert set(tag[1:-1]) <= set("0123456789abcdef")
    assert len(tag) > 20
