"""Each piece of a log counts once, wherever a connection begins; another log's never."""

import json

import pytest

from build.kaggle.log_events import AnotherLog, NoLog, Piece, Pieces, pieces_in, stored_pieces

LOG = [Piece("stdout", float(second), f"line {second}\n") for second in range(6)]


def read(pieces: Pieces, sent: list[Piece]) -> list[str]:
    """One connection's pieces, as far as they are new."""
    pieces.connect()
    return [piece.text.strip() for piece in sent if pieces.is_new(piece)]


@pytest.mark.parametrize("begins", [0, 1, 3])
def test_a_new_connection_may_begin_anywhere_and_no_line_is_doubled_or_lost(begins: int) -> None:
    pieces = Pieces()
    assert read(pieces, LOG[:3]) == ["line 0", "line 1", "line 2"]
    assert read(pieces, LOG[begins:]) == ["line 3", "line 4", "line 5"]


def test_the_same_line_printed_twice_is_two_lines() -> None:
    twice = [LOG[0], LOG[0], LOG[1]]
    pieces = Pieces()
    assert read(pieces, twice[:1]) == ["line 0"]
    assert read(pieces, twice) == ["line 0", "line 1"]


def test_what_begins_from_the_start_with_other_lines_is_another_log() -> None:
    pieces = Pieces()
    read(pieces, LOG)
    pieces.connect()
    with pytest.raises(AnotherLog, match="second 0, which was not there before"):
        pieces.is_new(Piece("stdout", 0.5, "of another version\n"))


def test_of_the_stored_log_the_rest_is_new_whether_it_is_cut_alike_or_not() -> None:
    for stored in (LOG, [Piece("stdout", 0.0, "".join(piece.text for piece in LOG))]):
        pieces = Pieces()
        read(pieces, LOG[:4])
        assert "".join(piece.text for piece in pieces.rest_of(stored)) == "line 4\nline 5\n"


def test_a_stored_log_without_what_was_there_is_another_one() -> None:
    pieces = Pieces()
    read(pieces, LOG)
    with pytest.raises(AnotherLog, match="no continuation"):
        pieces.rest_of(LOG[:2])


def test_events_are_read_whatever_stands_between_them_and_half_of_one_counts_as_not_sent() -> None:
    sent = (
        b': open\n\nevent: log\ndata: {"stream_name": "stderr", "time": 1.5, "data": "a\\n"}\r\n\r\ndata:not JSON\n'
        b'data: [1, 2]\ndata: {"time": 3}\ndata: {"data": "\xff", "time": Infinity}\ndata: END_OF_LOG\ndata: {"stream'
    )
    for size in (1, 7, 1000):
        chunks = [sent[at : at + size] for at in range(0, len(sent), size)]
        assert list(pieces_in(chunks)) == [
            Piece("stderr", 1.5, "a\n"),
            Piece("stdout", None, "not JSON\n"),
            Piece("stdout", None, "\ufffd"),
            None,
        ]


def test_a_line_without_end_is_no_log() -> None:
    with pytest.raises(NoLog, match="1,048,576 bytes"):
        list(pieces_in([b"data: " + b"x" * (1 << 20)]))


@pytest.mark.parametrize("text", ["a\nb\n", json.dumps([{"data": "a\n"}, 3, {"data": None}, {"data": "b\n"}])])
def test_a_stored_log_is_a_list_or_plain_text(text: str) -> None:
    assert "".join(piece.text for piece in stored_pieces(text)) == "a\nb\n"
