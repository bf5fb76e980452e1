"""Zero-shot classification of prompts into any categories."""

from tokenflowd.classify.classifier import Classification, Classifier
from tokenflowd.classify.corrections import CorrectedPrompts, blended
from tokenflowd.classify.defaults import DefaultCategories
from tokenflowd.classify.scoring import EmbeddingScorer, JointScorer, PairScorer, Scorer

__all__ = [
    "Classification",
    "Classifier",
    "CorrectedPrompts",
    "DefaultCategories",
    "EmbeddingScorer",
    "JointScorer",
    "PairScorer",
    "Scorer",
    "blended",
]
