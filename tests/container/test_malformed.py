"""Exchanges that are not what HTTP/1.1 says, or only just: each is refused or understood, nothing hangs, nothing is smuggled."""

import asyncio

import pytest

from tests.container.fronts import post, run, send

POST = b"POST /invocations HTTP/1.1\r\nHost: h\r\n"
TWO = POST + b"Content-Length: 2\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"
# Follows what is refused on the same connection: if it were answered, two parsers could see two different requests.
NEXT = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"

EXCHANGES = {  # name: (what is sent, the status that comes back)
    # request line
    "garbage": (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
    "no request line": (b"hello\r\n\r\n", 400),
    "no version": (b"POST /invocations\r\nHost: h\r\n\r\n", 400),
    "HTTP/0.9": (b"POST /invocations HTTP/0.9\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}", 505),
    "HTTP/2.0": (b"POST /invocations HTTP/2.0\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}", 505),
    "HTTP/3": (b"POST /invocations HTTP/3\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}", 400),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "lower-case version": (b"POST /invocations http/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}", 400),
    "two spaces": (b"POST  /invocations HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}", 400),
    "a space in the target": (b"POST /invo cations HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}", 400),
    "a NUL in the target": (b"POST /invocations\0 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}", 400),
    "a target beyond ASCII": (b"POST /invocations\xff HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}", 400),
    "an absolute target": (b"POST http://h/invocations HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}", 404),
    "a target of CONNECT": (b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n", 404),
    "the target *": (b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", 404),
    "a method that is none": (b"P()ST /invocations HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}", 400),
    "an unknown method": (b"BREW /invocations HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}", 405),
    "TRACE": (b"TRACE /invocations HTTP/1.1\r\nHost: h\r\n\r\n", 405),
    # headers
    "no Host": (b"POST /invocations HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", 400),
    "two Hosts": (TWO + b"Host: i\r\n\r\n{}", 400),
    "a space in a name": (TWO + b"Bad Name: 1\r\n\r\n{}", 400),
    "a space before the colon": (TWO + b"Name : 1\r\n\r\n{}", 400),
    "an empty name": (TWO + b": 1\r\n\r\n{}", 400),
    "no colon": (TWO + b"Name\r\n\r\n{}", 400),
    "a NUL in a value": (TWO + b"Name: a\0b\r\n\r\n{}", 400),
    "a bare CR in a value": (TWO + b"Name: a\rb: c\r\n\r\n{}", 400),
    "a folded first line": (b"POST /invocations HTTP/1.1\r\n Host: h\r\nContent-Length: 2\r\n\r\n{}", 400),
    "a folded value": (TWO + b"Name: a\r\n b\r\n\r\n{}", 200),  # h11 joins the lines
    "lines that end in LF": (b"POST /invocations HTTP/1.1\nHost: h\nContent-Length: 2\n\n{}", 200),
    "headers that are too large, at once": (TWO + b"A: " + b"x" * 33_000 + b"\r\n\r\n{}", 431),
    "too many headers": (TWO + b"".join(b"A%d: x\r\n" % number for number in range(5000)) + b"\r\n{}", 431),
    "a header without an end": (TWO + b"A: " + b"x" * 70_000, 431),
    "a target that is too large": (b"POST /" + b"x" * 33_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 431),
    # the length of a body
    "a negative length": (POST + b"Content-Length: -1\r\n\r\n{}", 400),
    "a length with a sign": (POST + b"Content-Length: +2\r\n\r\n{}", 400),
    "a length in hexadecimal": (POST + b"Content-Length: 0x2\r\n\r\n{}", 400),
    "a length with a blank": (POST + b"Content-Length: 1 2\r\n\r\n{}", 400),
    "an empty length": (POST + b"Content-Length: \r\n\r\n{}", 400),
    "a length that is a list": (POST + b"Content-Length: 2, 3\r\n\r\n{}", 400),
    "a length of 30 digits": (POST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n{}", 400),
    "a length beyond the limit": (POST + b"Content-Length: 1001\r\n\r\n", 413),
    "two lengths": (TWO + b"Content-Length: 3\r\n\r\n{}", 400),
    "two equal lengths": (TWO + b"Content-Length: 2\r\n\r\n{}", 200),
    "no length": (POST + b"\r\n", 200),  # an empty body; the handler answers for it
    "a length and chunks": (TWO + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 400),
    "chunks and a length": (CHUNKED + b"Content-Length: 4\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 400),
    # chunks
    "gzip, chunked": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "identity": (POST + b"Transfer-Encoding: identity\r\n\r\n", 501),
    "chunked twice": (CHUNKED + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501),
    "a chunk size that is none": (CHUNKED + b"\r\nx\r\n{}\r\n0\r\n\r\n", 400),
    "a negative chunk size": (CHUNKED + b"\r\n-2\r\n{}\r\n0\r\n\r\n", 400),
    "a chunk size of 30 digits": (CHUNKED + b"\r\n" + b"f" * 30 + b"\r\n{}\r\n0\r\n\r\n", 400),
    "a chunk beyond the limit": (CHUNKED + b"\r\n3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n", 413),
    "a chunk that is longer than its size": (CHUNKED + b"\r\n1\r\n{}\r\n0\r\n\r\n", 400),
    "a chunk with an extension": (CHUNKED + b"\r\n2;a=b\r\n{}\r\n0\r\n\r\n", 200),
    "chunks with a trailer": (CHUNKED + b"\r\n2\r\n{}\r\n0\r\nName: value\r\n\r\n", 200),
    # expectations
    "an unknown expectation": (TWO + b"Expect: the-unexpected\r\n\r\n{}", 417),
    "two expectations": (TWO + b"Expect: 100-continue\r\nExpect: more\r\n\r\n{}", 417),
    "an upgrade": (TWO + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n{}", 200),  # not taken up
}


@pytest.mark.parametrize("name", EXCHANGES)
def test_each_exchange_has_its_answer(name):
    sent, status = EXCHANGES[name]

    async def scenario(front, port, fake, log):
        answer = await send(
            port, sent + (NEXT if status >= 400 else b""), b"" if status >= 400 else NEXT.replace(b"Host", b"Connection: close\r\nHost")
        )
        assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:300]
        if status == 200:
            assert answer.count(b"HTTP/1.1 ") == 2 and b"HTTP/1.1 404 " in answer and len(fake.seen) == 1  # the next one is understood
        elif status not in (404, 405):
            assert not fake.seen and b"\r\nConnection: close\r\n" in answer and answer.count(b"\r\n\r\n") == 1
            assert all(part in answer for part in (b'"code": %d' % status, b'"type"', b'"message"', b'"field"'))
        assert (await post(port))[0] == 200 and front.places.bytes == 0  # and others are served as before

    run(scenario)


@pytest.mark.parametrize("cut", [1, 20, len(TWO), len(TWO) + 3])
def test_a_request_that_ends_early_reaches_nobody(cut):
    async def scenario(front, port, fake, log):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write((TWO + b"\r\n{}")[:cut])
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), 5)
        assert not fake.seen and (not answer or answer.startswith(b"HTTP/1.1 400 "))
        writer.close()

    run(scenario)
