"""Zero-shot classification of prompts into any categories."""

from tokenflowd.classify.classifier import Classification, Classifier
from tokenflowd.classify.scoring import EmbeddingScorer, PairScorer, Scorer

__all__ = ["Classification", "Classifier", "EmbeddingScorer", "PairScorer", "Scorer"]
