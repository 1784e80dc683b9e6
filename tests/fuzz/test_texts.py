"""The generator and the shrinking of texts, without the judge."""

import itertools
import random
import re

import pytest
from tests.fuzz.mutations import cut, mutate
from tests.fuzz.sentences import sentence
from tests.fuzz.shrink import shrunk
from tests.fuzz.texts import MAX_BYTES, texts


def _first(count: int, seed: int) -> list[bytes]:
    return list(itertools.islice(texts(seed), count))


def test_the_same_seed_gives_the_same_texts_and_another_one_others() -> None:
    assert _first(200, 7) == _first(200, 7)
    assert len(set(_first(200, 7)) & set(_first(200, 8))) < 100


def test_no_text_is_longer_than_the_limit_or_carries_nul_or_waits_on_purpose() -> None:
    found = _first(2000, 9)
    assert max(map(len, found)) <= MAX_BYTES
    assert not any(b"\0" in text or re.search(rb"(?i)pg_sleep|\bprogram\b|pg_terminate", text) for text in found)


def test_a_text_cut_into_tokens_joins_to_itself() -> None:
    chance = random.Random(3)
    for _ in range(300):
        text = mutate(" ".join(sentence(chance)), ["SELECT $$ a $$", "/* b */ U&'\\0061'"], chance)
        assert "".join(cut(text)) == text


@pytest.mark.parametrize(
    "word", ["SELECT", "DELETE", "INTO", "FOR UPDATE", "EXPLAIN", "json_table", "TABLESAMPLE", "COPY", "SET"]
)
def test_sentences_reach_every_corner_of_the_grammar(word: str) -> None:
    chance = random.Random(4)
    assert any(word in " ".join(sentence(chance)) for _ in range(3000))


def test_a_finding_is_made_as_short_as_it_still_shows() -> None:
    text = b"SELECT a, b /* c */ FROM t JOIN users u ON t.a = u.id WHERE w_plain() = 1 AND b LIKE 'x' ORDER BY 1"
    assert shrunk(text, lambda shorter: b"w_plain()" in shorter) == b"w_plain()"


def test_a_text_that_is_no_utf_8_is_left_as_it_is() -> None:
    assert shrunk(b"SELECT \xff", lambda shorter: True) == b"SELECT \xff"
