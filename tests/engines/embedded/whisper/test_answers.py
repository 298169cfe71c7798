from privity.engines.embedded.whisper.answers import Segment, Word, delta, done, whole
from privity.engines.embedded.whisper.task import Task


def segment(text: str, start: float) -> Segment:
    words = tuple(Word(each, start, start + 1) for each in text.split())
    return Segment(start, start + 1, text, (1, 2), 0.2, -0.5, 1.5, 0.1, words)


SAID = [segment(" Good morning.", 0.0), segment(" 你好", 1.0)]


def test_a_short_answer_is_the_text_and_what_it_is_billed_by() -> None:
    answer = whole(Task(b""), SAID, "en", 2.01)
    assert answer == {"text": "Good morning. 你好", "usage": {"type": "duration", "seconds": 3}}


def test_a_verbose_one_has_segments() -> None:
    answer = whole(Task(b"", is_verbose=True), SAID, "en", 2.0)
    assert (answer["task"], answer["language"], answer["duration"]) == ("transcribe", "en", 2.0)
    assert answer["segments"][1] == {
        "id": 1,
        "seek": 100,
        "start": 1.0,
        "end": 2.0,
        "text": " 你好",
        "tokens": [1, 2],
        "temperature": 0.2,
        "avg_logprob": -0.5,
        "compression_ratio": 1.5,
        "no_speech_prob": 0.1,
    }
    assert "words" not in answer


def test_a_verbose_one_has_words_where_they_are_asked_for() -> None:
    task = Task(b"", translates=True, is_verbose=True, times=frozenset({"word"}))
    answer = whole(task, SAID, "de", 2.0)
    assert answer["task"] == "translate"
    assert answer["words"][1:] == [
        {"word": "morning.", "start": 0.0, "end": 1.0},
        {"word": "你好", "start": 1.0, "end": 2.0},
    ]
    assert "segments" not in answer


def test_silence_is_an_empty_text() -> None:
    assert whole(Task(b"", is_verbose=True), [], "en", 0.5)["text"] == ""


def test_events_have_openais_types() -> None:
    assert delta(" a") == {"type": "transcript.text.delta", "delta": " a"}
    assert done("a", 1.0) == {
        "type": "transcript.text.done",
        "text": "a",
        "usage": {"type": "duration", "seconds": 1},
    }
