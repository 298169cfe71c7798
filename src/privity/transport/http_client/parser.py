"""What comes back: bytes in; status, headers and body out. Pure code, around httptools' parser.

httptools (llhttp) reads header lines and chunks. It neither bounds them nor tells where a message ended, so this module
finds the end of the head itself, counts, and needs httptools for no body but a chunked one.
"""

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from privity.errors import UpstreamProtocolError

MAX_HEAD_BYTES = 64 * 1024
"""Of all heads of one answer (informational ones count too), and of what lies between two pieces of a chunked body.

Real heads have 1 to 8 kB; llhttp itself would collect a header name without end.
"""

MAX_HEADERS = 200
"""In one head. Real ones have 10 to 40; every one costs an object."""

_HEAD_END = b"\r\n\r\n"
_FIRST_BYTE = ord("H")


class _SurplusError(Exception):
    """Stops httptools where a second answer begins."""


class ResponseParser:
    """Reads one answer, through any cutting of its bytes.

    Checks the framing as RFC 9112 sections 6.1 to 6.3 ask it of a proxy, and more strictly where a mistake would let
    two parties see different messages: one `content-length` or one `transfer-encoding`, whose value is `chunked`.
    Does not check: what headers mean, the reason phrase (which it drops), trailers (which it drops).

    Attributes:
        status: of the final head, 200 to 599; 0 before.
        headers: of the final head, names in lower case.
        started: whether any byte has come.
        head_complete: whether status and headers are there.
        complete: whether the body has ended where it had to end.
        reusable: whether the connection may carry another answer; means something only when `complete`.
        buffered: bytes of the body that wait for `take`.
    """

    __slots__ = (
        "_between",
        "_chunked",
        "_head_bytes",
        "_head_ended",
        "_head_only",
        "_parser",
        "_pieces",
        "_previous",
        "_remaining",
        "_tail",
        "buffered",
        "complete",
        "head_complete",
        "headers",
        "reusable",
        "started",
        "status",
    )

    def __init__(self, *, head_only: bool = False) -> None:
        """Make a parser for the answer to one request; `head_only` where its method was HEAD."""
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.started = False
        self.head_complete = False
        self.complete = False
        self.reusable = False
        self.buffered = 0
        self._head_only = head_only
        self._head_bytes = 0
        self._head_ended = False
        self._tail = b""
        self._chunked = False
        self._remaining: int | None = None
        self._between = 0
        self._previous = b""
        self._pieces: list[bytes] = []
        self._parser: HttpResponseParser | None = HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Take in what came from the peer (at least one byte).

        Raises:
            UpstreamProtocolError: this is no HTTP/1.0 or 1.1, is ambiguous, or breaks a limit.
                Nothing may be fed afterwards.
        """
        self.started = True
        if not self.head_complete:
            data = self._feed_head(data)
            if not data:
                return
        if self.complete:
            self.reusable = False
        elif self._chunked:
            self._feed_chunked(data)
        elif self._remaining is None:
            self.on_body(data)
        else:
            self._feed_counted(data, self._remaining)

    def feed_eof(self) -> None:
        """Take in that the peer has closed its side in an orderly way.

        Raises:
            UpstreamProtocolError: the answer had not come to its end (RFC 9112 section 8).
        """
        if self.complete:
            return
        if not self.head_complete:
            raise UpstreamProtocolError("the connection was closed before an answer's head was complete")
        if self._chunked or self._remaining is not None:
            raise UpstreamProtocolError("the connection was closed in the middle of an answer's body")
        self._finish()

    def take(self, limit: int) -> bytes:
        """Return up to `limit` bytes of the body, all that wait where they are no more; empty where none do."""
        pieces = self._pieces
        if self.buffered <= limit:
            data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            self._pieces = []
            self.buffered = 0
            return data
        size = count = 0
        while size + len(pieces[count]) <= limit:
            size += len(pieces[count])
            count += 1
        data = b"".join(pieces[:count]) + pieces[count][: limit - size]
        pieces[count] = pieces[count][limit - size :]
        del pieces[:count]
        self.buffered -= limit
        return data

    def discard(self) -> None:
        """Drop what waits, and what refers to this object; nothing may be fed afterwards."""
        self._pieces = []
        self.buffered = 0
        self._parser = None

    # The head

    def _feed_head(self, data: bytes) -> bytes:
        """Feed the part of `data` that belongs to heads, and return the rest."""
        while data and not self.head_complete:
            if not self._tail and data[0] != _FIRST_BYTE:
                raise UpstreamProtocolError("an answer begins with HTTP/")  # llhttp takes RTSP and empty lines too
            end = (self._tail + data).find(_HEAD_END)
            cut = end >= 0
            end += len(_HEAD_END) - len(self._tail)
            piece = data[:end] if cut else data
            self._head_bytes += len(piece)
            if self._head_bytes > MAX_HEAD_BYTES:
                raise UpstreamProtocolError(f"an answer's head is longer than {MAX_HEAD_BYTES} bytes")
            self._execute(piece)
            if self._head_ended != cut:
                raise UpstreamProtocolError("an answer's head does not end with an empty line")
            if not cut:
                self._tail = (self._tail + piece)[-3:]
                return b""
            data = data[end:]
            self._end_head()
        return data

    def _execute(self, data: bytes) -> None:
        try:
            if self._parser is not None:
                self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            if not self.complete:
                raise UpstreamProtocolError(f"an answer is not HTTP: {error}") from error

    def _end_head(self) -> None:
        parser = self._parser
        if parser is None:
            return
        status, version = parser.get_status_code(), parser.get_http_version()
        if version not in {"1.1", "1.0"} or not 100 <= status < 600 or status == 101:
            raise UpstreamProtocolError(f"an answer has the version {version} and the status {status}")
        if len(self.headers) > MAX_HEADERS:
            raise UpstreamProtocolError(f"an answer has more than {MAX_HEADERS} headers")
        if status < 200:  # informational: another head follows (RFC 9110 section 15.2)
            self.headers.clear()
            self._tail = b""
            self._head_ended = False
            self._parser = HttpResponseParser(self)
            return
        self.status = status
        self._set_framing(version)
        self.head_complete = True
        if self._head_only or status in {204, 304}:
            # RFC 9112 section 6.3: the empty line ends these. A 204 that announces a body might send one all the same.
            self.reusable = self.reusable and not (status == 204 and (self._chunked or self._remaining))
            self._finish()
        elif self._remaining == 0:
            self._finish()

    def _set_framing(self, version: str) -> None:
        """Find out how the body ends, and strip the values.

        llhttp has refused repeated lengths, and a length beside a transfer-encoding. With a tab after them, it does
        not know `chunked` and `close`: the first is refused here, the second recognised.
        """
        for index, (name, value) in enumerate(self.headers):
            if name == b"content-length":
                self._remaining = int(value)
            elif name == b"transfer-encoding":
                if self._chunked or value.lower() != b"chunked" or version == "1.0":
                    raise UpstreamProtocolError("an answer has a transfer-encoding other than chunked")
                self._chunked = True
            elif name == b"connection" and b"close" in value.lower():
                self.reusable = False
            if value[-1:] in {b" ", b"\t"}:
                self.headers[index] = (name, value.rstrip(b" \t"))

    # The body

    def _feed_counted(self, data: bytes, remaining: int) -> None:
        if len(data) < remaining:
            self._remaining = remaining - len(data)
            self.on_body(data)
            return
        if len(data) > remaining:
            self.reusable = False
            data = data[:remaining]
        self.on_body(data)
        self._finish()

    def _feed_chunked(self, data: bytes) -> None:
        pieces = len(self._pieces)
        self._execute(data)
        if self.complete:
            self.reusable = self.reusable and self._ends_here(data)
            self._finish()
        elif len(self._pieces) > pieces:
            self._between = 0
        else:
            self._between += len(data)
            if self._between > MAX_HEAD_BYTES:
                raise UpstreamProtocolError(f"more than {MAX_HEAD_BYTES} bytes lie between two pieces of a body")
        self._previous = data

    def _ends_here(self, data: bytes) -> bool:
        """Tell whether the last byte of `data` is the last one of the chunked message.

        `on_message_begin` notices the beginning of another answer, but llhttp skips line ends that precede it. The
        empty line after the last chunk follows a character of another line; line ends after it do not.
        """
        end = data[-5:] if len(data) >= 5 else (self._previous + data)[-5:]
        return len(end) == 5 and end[1:] == _HEAD_END and end[0] not in b"\r\n"

    def _finish(self) -> None:
        self.complete = True
        self._parser = None  # it refers to this object: no work for the garbage collector
        self._previous = b""

    # What httptools calls

    def on_message_begin(self) -> None:
        """Refuse a second answer: nobody asked for it."""
        if self.complete:
            self.reusable = False
            raise _SurplusError

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take in a header, or drop a trailer."""
        if not self.head_complete:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Take in that the empty line has come."""
        self._head_ended = True
        if self._parser is not None:
            self.reusable = self._parser.should_keep_alive()  # it has forgotten when the message is complete

    def on_body(self, body: bytes) -> None:
        """Take in a piece of the body."""
        self._pieces.append(body)
        self.buffered += len(body)

    def on_message_complete(self) -> None:
        """Take in that the last chunk has come (a head alone is `_end_head`'s matter)."""
        if self.head_complete:
            self.complete = True
