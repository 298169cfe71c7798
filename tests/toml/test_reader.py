import pytest

from privity.errors import ConfigError
from privity.toml.kinds import FLAG, TOKENS, Kind, name
from privity.toml.reader import MAX_FILE_BYTES, MAX_PROBLEMS, Document, Table, path_text

ID = name("an ID")
SECRET = Kind("a secret", lambda value: value if value == "right" else None, is_secret=True)


def problems(document: Document) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        document.check()
    return caught.value.problems


def refusal(content: bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        Document(content, "f.toml")
    (problem,) = caught.value.problems
    return problem


def opened(text: str) -> tuple[Document, Table]:
    document = Document(text.encode(), "f.toml")
    return document, document.root


# The document


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"\xef\xbb\xbfa = 1\n"])
def test_a_sound_document_has_no_problems(content: bytes) -> None:
    Document(content, "f.toml").check()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a = 1\nb = \n", "f.toml:2: not TOML: invalid value (column 5)."),
        (b"a = [\n1,", "f.toml:2: not TOML: invalid value (at the end)."),
        (b"a = 1\nb = '\xff'", "f.toml:2: not UTF-8 text."),
        (b"a = 1\nb = " + b"9" * 5000, "f.toml:2: a number has too many digits."),
        (b"a = " + b"[" * 99_999, "f.toml:1: lists or tables are nested too deeply."),
        (b"#" * (MAX_FILE_BYTES + 1), f"f.toml:1: the file is larger than {MAX_FILE_BYTES} bytes."),
    ],
    ids=["value", "end", "bytes", "digits", "depth", "size"],
)
def test_what_is_no_toml_is_refused_with_its_line(content: bytes, told: str) -> None:
    assert refusal(content) == told


def test_problems_are_told_in_the_file_s_order_and_what_is_missing_at_the_table_s_line() -> None:
    document, root = opened("a = 1\n\n[[t]]\nb = 2\n")
    (table,) = root.tables("t")
    table.report(("b",), "late.")
    table.report(("c",), "missing.")
    root.report(("a",), "early.")
    document.report((), "the whole.")
    assert problems(document) == (
        "f.toml:1: a: early.",
        "f.toml:1: the whole.",
        "f.toml:3: t[0].c: missing.",
        "f.toml:4: t[0].b: late.",
    )
    assert not table.is_sound


def test_only_so_many_problems_are_told() -> None:
    document, root = opened("\n".join(f"k{each} = 1" for each in range(MAX_PROBLEMS + 2)))
    root.close()
    assert document.has_enough
    told = problems(document)
    assert (len(told), told[-1]) == (MAX_PROBLEMS + 1, "f.toml: 2 more.")


# Its tables


def test_values_are_taken_by_their_kind() -> None:
    document, root = opened("id = 'm'\nflag = true\ntokens = [1, 2]\n")
    assert (root.take("id", ID), root.require("flag", FLAG), root.take("other", ID)) == ("m", True, None)
    assert (root.take_list("tokens", TOKENS), root.take_list("others", TOKENS)) == ((1, 2), None)
    assert "id" in root
    assert "other" not in root
    root.close()
    document.check()
    assert root.is_sound


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("n = 0", "n: expected an integer above 0, got 0."),
        ("n = 'x'", 'n: expected an integer above 0, got "x".'),
        ("", "n: missing; expected an integer above 0."),
    ],
)
def test_a_value_of_another_kind_is_a_problem_and_then_is_not_there(text: str, told: str) -> None:
    document, root = opened(text)
    assert root.require("n", TOKENS) is None
    assert problems(document) == (f"f.toml:1: {told}",)
    assert not root.is_sound


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "l: missing; expected a list of at least one, each an integer above 0."),
        ("l = []", "l: expected a list of at least one, each an integer above 0, got an empty list."),
        ("l = 5", "l: expected a list of at least one, each an integer above 0, got 5."),
        ("l = [1,\n 'x']", 'l[1]: expected an integer above 0, got "x".'),
        ("l = [1,\n 1]", "l[1]: 1 is listed twice."),
    ],
)
def test_a_list_has_members_of_one_kind_each_once(text: str, told: str) -> None:
    document, root = opened(text)
    root.require_list("l", TOKENS)
    assert problems(document) == (f"f.toml:{1 + text.count(chr(10))}: {told}",)


def test_a_wrong_secret_is_never_repeated() -> None:
    document, root = opened("a = 'hunter2'\nb = 'hunter2'\nc = ['hunter2']\n")
    root.take("a", SECRET)
    root.take_list("b", SECRET)
    root.take_list("c", SECRET)
    assert len(problems(document)) == 3
    assert "hunter2" not in str(problems(document))


def test_tables_of_one_name_come_in_their_order() -> None:
    document, root = opened("[[t]]\nid = 'a'\n[[t]]\nid = 'b'\n")
    assert [each.take("id", ID) for each in root.require_tables("t")] == ["a", "b"]
    assert root.tables("u") == []
    document.check()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "t: missing; expected at least one table under [[t]]."),
        ("t = 1", "t: expected tables, each under [[t]], or nothing of this name."),
        ("t = []", "t: expected tables, each under [[t]], or nothing of this name."),
        ("t = [1]", "t[0]: expected a table, under [[t]]."),
    ],
)
def test_what_is_no_table_is_a_problem(text: str, told: str) -> None:
    document, root = opened(text)
    assert root.require_tables("t") == []
    assert problems(document) == (f"f.toml:1: {told}",)


def test_a_refused_key_is_as_if_it_were_not_there() -> None:
    document, root = opened("old = 1\n")
    root.refuse({"old": "gone.", "older": "gone too."})
    root.close()
    assert "old" not in root
    assert problems(document) == ("f.toml:1: old: gone.",)


def test_an_unknown_key_is_a_problem_that_names_what_is_near_or_known() -> None:
    document, root = opened("tasksq = 1\nx = 2\n")
    root.take("tasks", ID)
    root.take("id", ID)
    root.close()
    assert problems(document) == (
        "f.toml:1: tasksq: unknown; did you mean tasks?",
        "f.toml:2: x: unknown; known here: tasks, id.",
    )


def test_a_path_is_written_as_people_do() -> None:
    assert path_text(("models", 1, "tasks", 0)) == "models[1].tasks[0]"
    assert path_text(("a.b", "\x1b")) == r'"a.b"."\u001b"'
