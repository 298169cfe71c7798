import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import privity
from privity import errors
from privity.engines.embedded.hub import _TEXTS as HUB_TEXTS
from privity.errors import (
    ApiError,
    ClientGoneError,
    MethodNotAllowedError,
    PrivityError,
    ProtocolError,
    StartError,
    TooManyRequestsError,
    UnavailableError,
    UpstreamError,
)

CLASSES = [each for _, each in inspect.getmembers(errors, inspect.isclass)]
API_ERRORS = [each for each in CLASSES if issubclass(each, ApiError) and each is not ApiError]
SOURCES = sorted(Path(privity.__file__).parent.rglob("*.py"))


def make(kind: type[ApiError], text: str = "text") -> ApiError:
    return MethodNotAllowedError(text, ("GET", "HEAD")) if kind is MethodNotAllowedError else kind(text)


# The tree


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    """The drawing at the top of the file is read by people; it must not lie."""
    drawn: dict[str, str] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"([│├└─ ]*)(\w+Error)", line)
        if match is None:
            continue
        depth = len(match[1]) // 4
        above = [*above[:depth], match[2]]
        drawn[match[2]] = above[depth - 1] if depth else "Exception"
    assert drawn == {each.__name__: each.__base__.__name__ for each in CLASSES if each.__base__ is not None}


def test_the_statuses_in_the_docstring_are_those_of_the_classes() -> None:
    drawn = dict(re.findall(r"(\w+Error) +(\d{3})$", errors.__doc__ or "", re.MULTILINE))
    assert {name: int(status) for name, status in drawn.items()} == {each.__name__: each.status for each in API_ERRORS}


def test_every_error_is_one_of_ours() -> None:
    assert all(issubclass(each, PrivityError) for each in CLASSES)


def test_the_families_are_apart() -> None:
    families = (ApiError, ProtocolError, UpstreamError, ClientGoneError, StartError)
    for each in CLASSES:
        assert each is PrivityError or sum(issubclass(each, family) for family in families) == 1


# What an app is told


@pytest.mark.parametrize("kind", API_ERRORS)
def test_an_api_error_is_complete(kind: type[ApiError]) -> None:
    error = make(kind)
    assert 400 <= error.status <= 599
    assert error.type == ("permission_error" if error.status in (403, 421) else error.type)
    assert error.type in ("invalid_request_error", "permission_error", "rate_limit_error", "server_error")
    assert (error.type == "rate_limit_error") == (error.status == 429)
    assert (error.type == "server_error") == (error.status >= 500)
    assert re.fullmatch(r"[a-z]+(_[a-z]+)+", error.code or "")
    assert "text" in error.message
    assert error.body() == {
        "error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
    }
    assert str(error) == error.message


ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "invalid_request_error",
    413: "request_too_large",
    415: "invalid_request_error",
    421: "invalid_request_error",
    429: "rate_limit_error",
    500: "api_error",
    501: "api_error",
    502: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
}
"""Those of https://docs.anthropic.com/en/api/errors, and the general ones for statuses that it doesn't name."""


@pytest.mark.parametrize("kind", [*API_ERRORS, ApiError])
def test_an_api_error_has_anthropics_form_too(kind: type[ApiError]) -> None:
    error = make(kind)
    assert error.anthropic_body() == {
        "type": "error",
        "error": {"type": ANTHROPIC_TYPES[error.status], "message": error.message},
    }


def test_every_kind_has_a_code_of_its_own() -> None:
    assert len({each.code for each in API_ERRORS}) == len(API_ERRORS)


def test_param_and_code_belong_to_one_error_and_not_to_its_class() -> None:
    error = errors.InvalidRequestError("text", param="p", code="c")
    assert (error.param, error.code) == ("p", "c")
    assert (errors.InvalidRequestError("text").param, errors.InvalidRequestError("text").code) == (
        None,
        "invalid_request",
    )


def test_a_wrong_method_says_which_are_right() -> None:
    assert MethodNotAllowedError("text", ("GET", "HEAD")).headers == [(b"allow", b"GET, HEAD")]


def test_what_may_go_well_later_says_when_to_come_again() -> None:
    assert UnavailableError("text").headers == [(b"retry-after", b"2")]
    assert UnavailableError("text", retry_after=30, param="model").headers == [(b"retry-after", b"30")]
    assert TooManyRequestsError("text").headers == [(b"retry-after", b"2")]
    assert TooManyRequestsError("text", retry_after=30, code="c").headers == [(b"retry-after", b"30")]


def test_other_errors_have_no_headers_of_their_own() -> None:
    with_headers = [each for each in API_ERRORS if make(each).headers]
    assert with_headers == [MethodNotAllowedError, TooManyRequestsError, UnavailableError]


# What a person at a terminal is told


def test_a_start_error_reads_as_problem_and_way_out() -> None:
    error = StartError("It does not work.", "Try again.")
    assert (str(error), error.problem, error.way_out) == (
        "It does not work. Try again.",
        "It does not work.",
        "Try again.",
    )


Locals = dict[str, ast.expr]


def raised() -> Iterator[tuple[str, ModuleType, Locals, list[ast.expr]]]:
    """Yield each place in the source that makes a StartError, with its module, local variables and arguments."""
    for path in SOURCES:
        name = ".".join(path.relative_to(SOURCES[0].parent.parent).with_suffix("").parts).removesuffix(".__init__")
        for function in ast.walk(ast.parse(path.read_text())):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            nodes = list(ast.walk(function))
            assigned = {
                target.id: node.value
                for node in nodes
                if isinstance(node, ast.Assign)
                for target in node.targets
                if isinstance(target, ast.Name)
            }
            for node in nodes:
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "StartError":
                    yield f"{path.name}:{node.lineno}", importlib.import_module(name), assigned, node.args


def text_of(text: ast.expr, module: ModuleType, assigned: Locals) -> str | None:
    """Return a text as far as it stands in the source, with `{}` for what does not; None where nothing does."""
    match text:
        case ast.Constant(str(value)):
            return value
        case ast.JoinedStr(values):
            parts = [each.value if isinstance(each, ast.FormattedValue) else each for each in values]
            return "".join(text_of(each, module, assigned) or "{}" for each in parts)
        case ast.Name(name) if name in assigned:
            return text_of(assigned[name], module, assigned)
        case ast.Name(name) if isinstance(getattr(module, name, None), str):
            return str(getattr(module, name))
        case ast.Attribute(ast.Name(owner), name) if isinstance(getattr(module, owner, None), ModuleType):
            return str(getattr(getattr(module, owner), name))
        case _:
            return None


RAISED = {place: (module, assigned, arguments) for place, module, assigned, arguments in raised()}


def is_a_way_out(text: str) -> bool:
    """Tell whether it ends in a full sentence, or in a command to type."""
    command = r"(: |^)(--model|chmod|openssl|pip|privity|\(umask) ?\S[^.]*$"
    return text.endswith(".") or re.search(command, text) is not None or "#tasks=" in text


def test_the_source_was_searched() -> None:
    assert len(RAISED) > 15


@pytest.mark.parametrize("place", RAISED)
def test_every_problem_comes_with_a_way_out(place: str) -> None:
    module, assigned, arguments = RAISED[place]
    assert len(arguments) == 2
    problem, way_out = (text_of(each, module, assigned) for each in arguments)
    assert problem is None or problem.endswith((".", "}"))
    assert way_out is None or is_a_way_out(way_out), way_out
    if way_out is None:
        assert module.__name__ == "privity.engines.embedded.hub", "its texts are a table, tested below"


@pytest.mark.parametrize(("problem", "way_out"), HUB_TEXTS.values(), ids=HUB_TEXTS)
def test_every_problem_with_a_hub_comes_with_a_way_out(problem: str, way_out: str) -> None:
    assert problem.endswith(".")
    assert is_a_way_out(way_out) or way_out.endswith("{other}")
