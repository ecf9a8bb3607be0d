"""The words that clients read in the OpenAPI document and in problem documents."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from api.documentation.openapi import make_document
from api.routing import problems
from api.routing.problems import ProblemKind
from api.routing.routes import operations
from api.server.app import TITLE
from config import load_settings
from config.version import product_version

MOST_WORDS = 25
VERBS = {
    "Acknowledge",
    "Change",
    "Check",
    "Clear",
    "Follow",
    "Get",
    "List",
    "Place",
    "Propose",
    "Receive",
    "Resolve",
    "Store",
}
FOREIGN = re.compile(
    r"\b(tells?|told|is at (it|an)|anew|mends?|so bad|besides|stands?|is no|comes? to|whatever|whosever|for who)\b",
    re.IGNORECASE,
)
KINDS = [value for value in vars(problems).values() if isinstance(value, ProblemKind)]


def texts(document: Any) -> Iterator[str]:
    """Every summary and description of an OpenAPI document, wherever it is."""
    if isinstance(document, dict):
        for name, value in document.items():
            if name in {"summary", "description"} and isinstance(value, str):
                yield value
            else:
                yield from texts(value)
    elif isinstance(document, list):
        for item in document:
            yield from texts(item)


DOCUMENT = make_document(TITLE, product_version(), operations(load_settings()))
TEXTS = sorted({*texts(DOCUMENT), *(text for kind in KINDS for text in (kind.title, kind.detail))})


def test_every_text_is_looked_at() -> None:
    assert len(TEXTS) > 200
    assert len(KINDS) == 28


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_made_of_short_sentences_in_plain_words(text: str) -> None:
    for sentence in re.split(r"(?<=[.:;?])\s+", text):
        assert len(sentence.split()) <= MOST_WORDS, sentence
    assert not FOREIGN.search(text)


def test_a_long_or_foreign_text_would_be_noticed() -> None:
    with pytest.raises(AssertionError):
        test_a_text_is_made_of_short_sentences_in_plain_words("word " * (MOST_WORDS + 1))
    with pytest.raises(AssertionError):
        test_a_text_is_made_of_short_sentences_in_plain_words("Peach tells how a payment stands")


def test_a_summary_says_in_the_imperative_what_the_operation_does() -> None:
    summaries = [operation.summary for operation in operations(load_settings())]
    assert {summary.split()[0] for summary in summaries} <= VERBS
    assert [summary for summary in summaries if summary.endswith(".")] == []
    assert len(set(summaries)) == len(summaries)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_problem_has_a_short_title_and_a_detail_of_whole_sentences(kind: ProblemKind) -> None:
    assert len(kind.title.split()) <= 5
    assert not kind.title.endswith(".")
    assert kind.detail.endswith(".")
