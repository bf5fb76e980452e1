"""Ways to score labels, behind one interface: an NLI pair model, a sentence encoder, and both."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tokenflowd.engine import EncoderModel

Floats = NDArray[np.float32]

# Label vectors remembered by the embedding scorer: 1.5 kB each.
CACHED_LABELS = 4096
# Labels that the encoder hands to the pair model.
SHORTLIST = 8


class Scorer(Protocol):
    """Scores of `labels` (what the model reads, not their names) for one text."""

    model_id: str

    def scores(
        self,
        text: str,
        labels: Sequence[str],
        *,
        multi_label: bool,
        stop: threading.Event | None = None,
    ) -> Floats:
        """float32, shape (n_labels,), in [0, 1]; they sum to 1 unless `multi_label`.

        Raises Busy, Cancelled.
        """
        ...


class PairScorer:
    """Natural language inference: does the text entail "This example is about LABEL."?

    As in Yin et al. 2019 (arXiv:1909.00161) and transformers' zero-shot pipeline: a softmax
    of the entailment logits over the labels, or, for `multi_label`, of entailment against
    contradiction for each label by itself. All labels go to the model together.
    """

    def __init__(self, model: EncoderModel, hypothesis_template: str = "") -> None:
        manifest = model.manifest
        self.model_id = manifest.id
        self.model = model
        self._template = hypothesis_template or manifest.hypothesis_template
        self._entailment = manifest.label_index("entailment")
        two_way = "not_entailment" in manifest.labels
        self._contradiction = manifest.label_index("not_entailment" if two_way else "contradiction")

    def scores(
        self,
        text: str,
        labels: Sequence[str],
        *,
        multi_label: bool,
        stop: threading.Event | None = None,
    ) -> Floats:
        tokenizer, manifest = self.model.tokenizer, self.model.manifest
        # Not str.format: a label or a template may contain braces of its own.
        hypotheses = [self._template.replace("{}", label) for label in labels]
        longest = max(map(tokenizer.length, hypotheses))
        room = manifest.window_tokens - tokenizer.pair_special_tokens - longest
        room = max(room, manifest.window_tokens // 4)
        sequences = tokenizer.pairs(tokenizer.shorten(text, room), hypotheses)
        # Head and tail may have a token more together than they had in the whole text.
        excess = max(map(len, sequences)) - manifest.max_tokens
        if 0 < excess < room // 2:
            sequences = tokenizer.pairs(tokenizer.shorten(text, room - 2 * excess), hypotheses)
        outputs = self.model.run(sequences, stop=stop)
        logits = np.stack(outputs) / manifest.temperature
        entailment, contradiction = logits[:, self._entailment], logits[:, self._contradiction]
        if multi_label:
            return _sigmoid(entailment - contradiction)
        return _softmax(entailment)


class EmbeddingScorer:
    """Cosine of the text's and the label's sentence vectors (Reimers and Gurevych 2019,
    arXiv:1908.10084), with the labels' vectors cached: one model run whatever their number.

    The cosines, divided by the manifest's temperature, take the place of logits. With
    `multi_label` they are held against the cosine of the text with no label in particular.
    """

    _NO_LABEL = "something"

    def __init__(self, model: EncoderModel) -> None:
        self.model_id = model.manifest.id
        self._model = model
        self._vectors: OrderedDict[str, Floats] = OrderedDict()
        self._lock = threading.Lock()

    def scores(
        self,
        text: str,
        labels: Sequence[str],
        *,
        multi_label: bool,
        stop: threading.Event | None = None,
    ) -> Floats:
        described = [*labels, self._NO_LABEL]
        vectors = self._label_vectors(described, stop)
        cosines = vectors @ self.vectors([text], stop)[0] / self._model.manifest.temperature
        if multi_label:
            return _sigmoid(cosines[:-1] - cosines[-1])
        return _softmax(cosines[:-1])

    def vectors(self, texts: Sequence[str], stop: threading.Event | None = None) -> Floats:
        """Unit vectors: float32, shape (n_texts, dimensions). Raises Busy, Cancelled."""
        tokenizer, manifest = self._model.tokenizer, self._model.manifest
        room = manifest.window_tokens - tokenizer.special_tokens
        sequences = [tokenizer.text_sequence(tokenizer.shorten(text, room)) for text in texts]
        return np.stack(self._model.run(sequences, stop=stop))

    def _label_vectors(self, labels: Sequence[str], stop: threading.Event | None) -> Floats:
        with self._lock:
            known = {label: self._vectors[label] for label in labels if label in self._vectors}
        missing = [label for label in labels if label not in known]
        if missing:
            known.update(zip(missing, self.vectors(missing, stop), strict=True))
        with self._lock:
            for label in labels:
                self._vectors[label] = known[label]
                self._vectors.move_to_end(label)
            while len(self._vectors) > CACHED_LABELS:
                self._vectors.popitem(last=False)
        return np.stack([known[label] for label in labels])


class JointScorer:
    """Both: the encoder chooses the few labels that the pair model then judges, as search engines
    retrieve and rerank (Nogueira and Cho 2019, arXiv:1901.04085), so that any number of labels
    takes about as long as eight.

    Of those few, the pair model's score counts with the square root of the encoder's; together
    they keep what the encoder gave them, so that scores still sum to 1. With `multi_label` the pair
    model's alone counts, and the others come after: an encoder ranks labels, but says little of
    each by itself.
    """

    def __init__(self, encoder: Scorer, pair: Scorer) -> None:
        self.model_id = pair.model_id
        self._encoder = encoder
        self._pair = pair

    def scores(
        self,
        text: str,
        labels: Sequence[str],
        *,
        multi_label: bool,
        stop: threading.Event | None = None,
    ) -> Floats:
        scores = self._encoder.scores(text, labels, multi_label=multi_label, stop=stop)
        best = np.argsort(-scores, kind="stable")[:SHORTLIST]
        few = [labels[index] for index in best]
        judged = self._pair.scores(text, few, multi_label=multi_label, stop=stop)
        if multi_label:
            scores = np.minimum(scores, judged.min())
            scores[best] = judged
        else:
            products = judged * np.sqrt(scores[best])
            scores[best] = products * (scores[best].sum() / products.sum())
        return scores


def _softmax(values: Floats) -> Floats:
    shifted = np.exp(values - values.max())
    shares: Floats = shifted / shifted.sum()
    return shares


def _sigmoid(values: Floats) -> Floats:
    return (1 / (1 + np.exp(-values))).astype(np.float32)
