"""How many prompts of each misleading kind go where they belong, without the head and with it.

    python models/evaluate_routing.py [PROMPTS]

PROMPTS is tests/classify/routing.toml unless named: none of it was read by fit_routing.py.
"""

import argparse
import tomllib
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tokenflowd.classify import Classifier, DefaultCategories, EmbeddingScorer, PairScorer
from tokenflowd.config import ClassifyConfig, EngineConfig
from tokenflowd.engine import load_model
from tokenflowd.route import DEFAULT_CATEGORIES

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "prompts", type=Path, nargs="?", default=HERE.parent / "tests/classify/routing.toml"
    )
    options = parser.parse_args()
    pair = PairScorer(load_model(HERE / "weights/tokenflow-classifier", EngineConfig()))
    encoder = EmbeddingScorer(load_model(HERE / "weights/tokenflow-embedder", EngineConfig()))
    without = Classifier(pair, lambda: encoder, ClassifyConfig())
    with_head = Classifier(pair, lambda: encoder, ClassifyConfig(), DefaultCategories.shipped())
    table = Table("kind", "right", "prompts", "without the head", "with it")
    for name, kind in tomllib.loads(options.prompts.read_text()).items():
        right = [count_right(classifier, kind) for classifier in (without, with_head)]
        table.add_row(name, kind["category"], str(len(kind["prompts"])), *map(str, right))
    Console().print(table)


def count_right(classifier: Classifier, kind: dict[str, list[str] | str]) -> int:
    chosen = [
        classifier.classify(prompt, DEFAULT_CATEGORIES).top_category for prompt in kind["prompts"]
    ]
    return chosen.count(str(kind["category"]))


if __name__ == "__main__":
    main()
