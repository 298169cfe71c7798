from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.catalogue.declared import Declared
from privity.catalogue.records_file import parse_records, take_models
from privity.errors import ConfigError
from privity.toml.kinds import MAX_NAME, MAX_SHOWN
from privity.toml.reader import MAX_FILE_BYTES, MAX_PROBLEMS, Document

NAME = "records.toml"


def problems(text: str | bytes) -> list[str]:
    """Return a records file's problems, without the file's name."""
    with pytest.raises(ConfigError) as caught:
        parse_records(text if isinstance(text, bytes) else text.encode(), NAME)
    assert str(caught.value) == "\n".join(("The configuration can't be used:", *caught.value.problems))
    assert all(each.startswith(f"{NAME}:") for each in caught.value.problems)
    return [each.removeprefix(f"{NAME}:") for each in caught.value.problems]


def problem(text: str | bytes) -> str:
    (only,) = problems(text)
    return only


def test_an_empty_file_declares_nothing() -> None:
    assert parse_records(b"", NAME) == parse_records(b"\xef\xbb\xbf# nothing\r\n", NAME) == ()


def test_every_key() -> None:
    text = """
        [[models]]
        id = "org/Größe"
        aliases = ["a", "b"]
        floating_aliases = ["latest"]
        tasks = ["embed", "generate"]
        context_length = 8192
        max_output_tokens = 1
        owned_by = "us"
        display_name = "A Model"
        created = 2024-09-19

        [[models]]
        id = "c"
    """
    assert parse_records(text.encode(), NAME) == (
        Declared(
            "org/Größe",
            aliases=("a", "b"),
            floating_aliases=("latest",),
            tasks=("embed", "generate"),
            context_length=8192,
            max_output_tokens=1,
            owned_by="us",
            display_name="A Model",
            created=1_726_704_000,
        ),
        Declared("c"),
    )


@pytest.mark.parametrize(
    ("created", "seconds"),
    [
        ("0", 0),
        ("1726704000", 1_726_704_000),
        ("2024-09-19", 1_726_704_000),
        ("2024-09-19T02:00:00+02:00", 1_726_704_000),
        ("2024-09-19 00:00:00.9Z", 1_726_704_000),
        ("9999-12-31", 253_402_214_400),
    ],
)
def test_a_release_is_a_date_a_time_or_a_number(created: str, seconds: int) -> None:
    assert parse_records(f'models = [{{id = "a", created = {created}}}]'.encode(), NAME)[0].created == seconds


# What a gateway may say besides


def test_when_a_model_ends_and_who_may_see_it_is_a_gateways_to_say() -> None:
    text = """
        [[models]]
        id = "a"
        visible_to = ["y", "x"]
        deprecated = 2026-01-01
        retires_at = 2026-07-01T02:00:00+02:00
        replacement = "b"
    """
    document = Document(text.encode(), NAME)
    (declared,) = take_models(document.root, {})
    document.check()
    assert declared.visible_to == frozenset({"x", "y"})
    assert declared.lifecycle.deprecated_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert declared.lifecycle.retires_at == datetime(2026, 7, 1, tzinfo=UTC)
    assert declared.lifecycle.replacement == "b"
    told = "the gateway's to say, in the file of `privity gateway --config`."
    end = f"when a model comes to its end is {told}"
    assert problems(text) == [
        f"4: models[0].visible_to: who may see a model is {told}",
        f"5: models[0].deprecated: {end}",
        f"6: models[0].retires_at: {end}",
        f"7: models[0].replacement: {end}",
    ]


# Wrong values

TASK = "one of generate, tool_calling, vision, embed, transcribe"
KNOWN = (
    "id, aliases, floating_aliases, tasks, context_length, max_output_tokens, owned_by, display_name, created, "
    "deprecated, retires_at, replacement, visible_to"
)
CREATED = "expected a date from 1970 on, a date and time with its offset, or Unix seconds"


@pytest.mark.parametrize(
    ("member", "says"),
    [
        ('context_length = "8k"', 'context_length: expected an integer above 0, got "8k".'),
        ("context_length = 0", "context_length: expected an integer above 0, got 0."),
        ("context_length = true", "context_length: expected an integer above 0, got true."),
        ("context_length = 1.5", "context_length: expected an integer above 0, got 1.5."),
        ("max_output_tokens = []", "max_output_tokens: expected an integer above 0, got an empty list."),
        (
            f"max_output_tokens = 0x{'f' * 5000}",
            "max_output_tokens: expected an integer above 0, got a huge number.",
        ),
        ("created = -1", f"created: {CREATED}, got -1."),
        ("created = 1969-12-31", f"created: {CREATED}, got 1969-12-31."),
        ("created = 2024-01-01T10:00:00", f"created: {CREATED}, got 2024-01-01T10:00:00."),
        ("created = 10:00:00", f"created: {CREATED}, got 10:00:00."),
        ("created = 253402300800", f"created: {CREATED}, got 253402300800."),
        ("created = 0001-01-01T00:00:00+01:00", f"created: {CREATED}, got 0001-01-01T00:00:00+01:00."),
        ("created = {a = 1}", f"created: {CREATED}, got a table."),
        ('owned_by = ""', 'owned_by: expected an owner\'s name of at most 256 printable characters, got "".'),
        ('display_name = " a"', 'display_name: expected a name of at most 256 printable characters, got " a".'),
        (
            'display_name = "a\\u001b[2J"',
            'display_name: expected a name of at most 256 printable characters, got "a\\u001b[2J".',
        ),
        (
            f'owned_by = "{"x" * (MAX_NAME + 1)}"',
            f'owned_by: expected an owner\'s name of at most 256 printable characters, got "{"x" * MAX_SHOWN}…".',
        ),
        ('aliases = "b"', 'aliases: expected a list, each a model\'s ID of at most 256 printable characters, got "b".'),
        ("aliases = [1]", "aliases[0]: expected a model's ID of at most 256 printable characters, got 1."),
        ('aliases = ["b", "b"]', 'aliases[1]: "b" is listed twice.'),
        ('aliases = ["a"]', "aliases[0]: the model a has the ID a already."),
        (
            "tasks = []",
            f"tasks: expected a list of at least one, each {TASK}, got an empty list.",
        ),
        (
            'tasks = ["generate", "chat"]',
            f'tasks[1]: expected {TASK}, got "chat".',
        ),
        (
            "tasks = [[]]",
            f"tasks[0]: expected {TASK}, got an empty list.",
        ),
        ("contxt_length = 1", "contxt_length: unknown; did you mean context_length?"),
        (
            "zzz.y = 1",
            f"zzz: unknown; known here: {KNOWN}.",
        ),
        ('"a\\u202eb" = 1', None),
    ],
)
def test_a_wrong_value_is_told_with_its_line_and_key(member: str, says: str | None) -> None:
    found = problem(f'# \n[[models]]\nid = "a"\n{member}\n')
    assert found.startswith('4: models[0]."a\\u202eb": unknown;') if says is None else found == f"4: models[0].{says}"


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_the_line_is_that_of_the_very_value(line_end: str) -> None:
    text = '''
models = [ # inline
  {id = "a", aliases = [
    "x",
    # "y",
    """not
printable""",
    3]},
  {id = "b", owned_by = 4, "display_name" = 5},
  6,
]
'''
    told = problems(text.replace("\n", line_end))
    assert [each.partition(": expected")[0] for each in told] == [
        "6: models[0].aliases[1]",
        "8: models[0].aliases[2]",
        "9: models[1].owned_by",
        "9: models[1].display_name",
        "10: models[2]",
    ]


def test_a_dotted_key_has_its_own_line() -> None:
    assert problem('[[models]]\nid = "a"\n[[models]]\n\nid.x = 1\nid.y = 2') == (
        "5: models[1].id: expected a model's ID of at most 256 printable characters, got a table."
    )


def test_what_is_missing_is_told_at_its_table() -> None:
    assert problem('[[models]]\nid = "a"\n\n[[models]]\ncreated = 1') == (
        "4: models[1].id: missing; expected a model's ID of at most 256 printable characters."
    )


@pytest.mark.parametrize("text", ["models = 3", "models = []", '[models]\nid = "a"'])
def test_models_are_tables(text: str) -> None:
    assert problem(text) == "1: models: expected tables, each under [[models]], or nothing of this name."


def test_nothing_else_is_in_a_records_file() -> None:
    assert problem("port = 1") == "1: port: unknown; known here: models."
    assert problem("model = 1") == "1: model: unknown; did you mean models?"


def test_models_among_each_other() -> None:
    text = '[[models]]\nid = "org/a"\naliases = ["x"]\n[[models]]\nid = "org/b"\naliases = [\n"y",\n"x"\n]\n'
    assert problem(text) == "8: models[1].aliases[1]: the models org/a and org/b both claim the ID x."


def test_all_problems_come_in_the_files_order() -> None:
    told = problems('a = 1\n[[models]]\nz = 1\nid = 2\ncreated = "x"\n[[models]]\n')
    assert [each.partition(":")[0] for each in told] == ["1", "3", "4", "5", "6"]


def test_no_more_problems_are_told_than_one_reads() -> None:
    told = problems("".join(f"k{number} = 1\n" for number in range(MAX_PROBLEMS + 5)))
    assert len(told) == MAX_PROBLEMS + 1
    assert told[-1] == " 5 more."


# What is no TOML


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a = 1\nb\n", "2: not TOML: expected '=' after a key in a key/value pair (column 2)."),
        ("a = 1\na = 2\n", "2: not TOML: cannot overwrite a value (column 6)."),
        ('# \n\na = "', "3: not TOML: unterminated string (at the end)."),
        (b"# \n\xff", "2: not UTF-8 text."),
        (f"a = 1\nb = {'9' * 5000}\n", "2: a number has too many digits."),
        (f"a = {'[' * 5000}", "1: lists or tables are nested too deeply."),
        ("#" * (MAX_FILE_BYTES + 1), f"1: the file is larger than {MAX_FILE_BYTES} bytes."),
    ],
    ids=range(7),
)
def test_what_is_no_toml_is_told_with_its_line(text: str | bytes, says: str) -> None:
    assert problem(text) == says


def parses(content: bytes) -> None:
    """Parse, and let nothing out but the one error, each of whose problems is one harmless line."""
    told: tuple[str, ...] = ("",)
    try:
        parse_records(content, NAME)
    except ConfigError as error:
        told = error.problems
    assert told
    assert all(each.isprintable() for each in told)


@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_else(content: bytes) -> None:
    parses(content)


@given(st.text(alphabet="abm[]{}=.,#\"'\\\r\n 0129-:TZ+_\u202e\x1b", max_size=60))
def test_random_texts_raise_nothing_else(text: str) -> None:
    parses(text.encode())


KEYS = ["id", "aliases", "floating_aliases", "tasks", "context_length", "owned_by", "created", "visible_to", "key", "x"]
VALUES = ['"a"', '"b"', '""', "1", "-1", "1.5", "inf", "nan", "true", "[]", '["a"]', '["a", "b"]', "[1, {}]", "{}",
          "2024-01-01", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "10:00:00", '"generate"']  # fmt: skip
MEMBERS = st.lists(
    st.tuples(st.sampled_from(KEYS), st.sampled_from(VALUES)), max_size=6, unique_by=lambda each: each[0]
)


@given(st.lists(MEMBERS, max_size=4))
def test_random_models_raise_nothing_else(models: list[list[tuple[str, str]]]) -> None:
    text = "".join("[[models]]\n" + "".join(f"{key} = {value}\n" for key, value in members) for members in models)
    parses(text.encode())
