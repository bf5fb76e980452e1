from __future__ import annotations

import pickle

import numpy as np
import pytest

from tokenflowd.engine import EncoderModel
from tokenflowd.engine.session import adds_int8_in_16_bits


def test_padding_changes_no_answer(compressor_model: EncoderModel) -> None:
    tokenizer = compressor_model.tokenizer
    short = tokenizer.sequence(tokenizer.subwords("The meeting is on Sunday.").ids)
    longer = tokenizer.sequence(tokenizer.subwords("It is not on Monday at all.").ids)
    alone = compressor_model.run([short])[0]
    together = compressor_model.run([short, longer])[0]
    assert alone.shape == (len(short), 2)
    # Dynamic quantisation takes its scale from the whole batch.
    assert np.abs(alone - together).max() < 0.5


@pytest.mark.parametrize("fixture", ["compressor_model", "classifier_model", "embedder_model"])
def test_a_model_pickles_as_its_folder(fixture: str, request: pytest.FixtureRequest) -> None:
    model: EncoderModel = request.getfixturevalue(fixture)
    content = pickle.dumps(model)
    assert len(content) < 2000
    again = pickle.loads(content)  # noqa: S301 - our own bytes
    sequence = model.tokenizer.text_sequence("hello there")
    np.testing.assert_array_equal(model.run([sequence])[0], again.run([sequence])[0])
    again.close()


def test_sentence_vectors_have_length_one(embedder_model: EncoderModel) -> None:
    vector = embedder_model.run([embedder_model.tokenizer.text_sequence("a sentence")])[0]
    assert vector.shape == (384,)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("machine", "flags", "expected"),
    [
        ("x86_64", "flags : fpu avx2 avx512_vnni", False),
        ("x86_64", "flags : fpu avx2 avx_vnni", False),
        ("x86_64", "flags : fpu avx2", True),
        ("AMD64", "", True),
        ("arm64", "", False),
    ],
)
def test_exact_products_are_asked_for_where_they_would_saturate(
    machine: str, flags: str, expected: bool
) -> None:
    assert adds_int8_in_16_bits(machine, flags) is expected
