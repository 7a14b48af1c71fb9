"""Particles follow the ending of the word before them, and languages are chosen by weight."""

import re
import time
from gettext import translation
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.engine.explanations import absence, explain
from serendip.engine.explanations.translation import (
    LANGUAGES,
    Noun,
    choose_language,
    ending,
    translate,
)

LOCALES = Path(explain.__file__).parent / "locales"


@pytest.mark.parametrize(
    ("word", "particles"),
    [
        ("매트릭스", "를 는 가 와 로"),
        ("기생충", "을 은 이 과 으로"),
        ("올드보이", "를 는 가 와 로"),
        ("서울", "을 은 이 과 로"),  # ㄹ takes 로
        ("아이언맨 3", "을 은 이 과 으로"),  # 삼
        ("토이 스토리 2", "를 는 가 와 로"),  # 이
        ("사랑과 영혼 (Ghost)", "을 은 이 과 으로"),
        ("괴물 [확장판] (2006)", "을 은 이 과 로"),
        ("Matrix", "를 는 가 와 로"),
        ("Film", "을 은 이 과 으로"),
        ("Toy Story", "를 는 가 와 로"),
        ("Castle", "을 은 이 과 로"),
        ("Titanic", "을 은 이 과 으로"),
        ("Psycho!", "를 는 가 와 로"),
        ("Ночь", "을(를) 은(는) 이(가) 과(와) 으로(로)"),
        ("", "을(를) 은(는) 이(가) 과(와) 으로(로)"),
    ],
)
def test_particles_follow_the_ending(word: str, particles: str) -> None:
    template = "{word:을/를} {word:은/는} {word:이/가} {word:과/와} {word:으로/로}"
    assert translate(template, "en", word=word) == particles


def test_the_name_itself_is_written_as_it_is() -> None:
    assert translate("‘{title}’{title:을/를} {count:,}", "en", title="{x}", count=1000) == (
        "‘{x}’를 1,000"
    )
    assert f"{Noun('ab'):>4}" == "  ab"


@given(st.text())
def test_every_text_has_an_ending_or_none(word: str) -> None:
    found = ending(word)
    assert found is None or 0 <= found < 28


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("ko", "ko"),
        ("KO-kr", "ko"),
        ("ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7", "ko"),
        ("en;q=0.5, ko;q=0.9", "ko"),
        ("de, ko;q=0.2", "ko"),
        ("en, ko", "en"),
        ("kok", "en"),
        ("ko;q=0", "en"),
        ("*", "en"),
        ("ko;q=nan,,;;", "en"),
    ],
)
def test_the_language_is_the_most_wanted_that_there_is(accepted: str, language: str) -> None:
    assert choose_language(accepted) == language


@given(st.text(alphabet="koen-;q=.019, *", max_size=40))
def test_any_header_gives_a_language(accepted: str) -> None:
    assert choose_language(accepted) in LANGUAGES


def test_long_headers_and_titles_cost_no_time() -> None:
    began = time.process_time()
    assert choose_language("a" + " " * 16_000 + "!") == "en"
    assert choose_language("ko;q=0.9," + "a" * 16_000) == "ko"
    assert ending("x" + "()" * 8_000) is None
    assert ending("x" * 8_000 + "\n" * 8_000 + "!") is None
    assert ending("서울" * 8_000) == ending("서울") == ending("서울 (x)")
    assert time.process_time() - began < 0.5


def test_every_sentence_about_answers_is_translated() -> None:
    wordings = {**vars(absence), **absence.STAGES}.values()
    absences = [one for one in wordings if isinstance(one, tuple)]
    names = [name for name in vars(explain) if name[:1].isupper() and name.isupper()]
    reasons = [one for name in names if isinstance(one := getattr(explain, name), str)]
    reasons.remove(explain.DEFAULT)
    assert set(reasons) == set(explain.SENTENCES)
    sentences = [*reasons, *chain.from_iterable(absences)]
    assert len(sentences) > 40
    catalogue = translation("serendip", LOCALES, ["ko"])
    for sentence in sentences:
        assert catalogue.gettext(sentence) != sentence


def test_the_compiled_sentences_are_those_of_the_file() -> None:
    folder = LOCALES / "ko" / "LC_MESSAGES"
    text = (folder / "serendip.po").read_text(encoding="utf-8")
    pairs = re.findall(r'^msgid "(.+)"\nmsgstr "(.+)"$', text, re.MULTILINE)
    catalogue = translation("serendip", LOCALES, ["ko"])
    assert len(pairs) == text.count("msgid") - 1
    assert [catalogue.gettext(one) for one, _ in pairs] == [korean for _, korean in pairs]


def test_a_sentence_without_a_translation_is_english() -> None:
    assert translate("no such sentence", "ko") == "no such sentence"
